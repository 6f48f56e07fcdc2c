#pragma once

#include <cstddef>
#include <vector>

#include "base/random.h"
#include "train/loader.h"

namespace gondola {

/// A row's partner is among the rows of its block of so many, which ranks must not cut: a power of two.
constexpr std::size_t cutmix_rows = 4;

/// CutMix (Yun et al. 2019, arXiv 1905.04899): each row of a batch gets what its partner has in a box, one for all
/// rows, of a random share of the area, and is to be matched with both captions, each by its share of the picture.
/// Partners are rows i and i xor d, with d drawn for the batch: sources alternate in it, and rows of any two must meet.
/// A pair is mixed where one number, drawn as well, is below both rows' `probabilities`; where it is not below `most`,
/// the largest that any row on any rank may have, the batch stays as it is, without partners.
void cutmix(Batch& batch, const std::vector<double>& probabilities, double most, Random random);

}  // namespace gondola
