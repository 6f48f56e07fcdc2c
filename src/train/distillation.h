#pragma once

#include "train/loss.h"

namespace gondola {

/// MobileCLIP's distillation loss (arXiv 2311.17049): how far the student's similarities of all ranks' N pairs are from
/// the teacher's, as the Kullback-Leibler divergence of their softmax over texts, averaged over images, and over
/// images, averaged over texts, averaged.
///
/// `student` and `teacher` are features of the same pairs: of the teacher only images and texts count, of any width,
/// and nothing asks for their gradients. `teacher_scale` is exp(its logit_scale). What is returned, and what the
/// backward pass leaves where, is as in contrastive_loss; memory grows with N × dim, since the texts of all ranks are
/// gathered.
at::Tensor distillation_loss(const Features& student, const Features& teacher, const at::Tensor& logit_scale,
                             double teacher_scale, Communicator& communicator, std::optional<Tile> tile = {});

}  // namespace gondola
