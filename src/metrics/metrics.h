#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gondola {

/// The template for labels if none is given.
inline constexpr const char* default_template = "a photo of a {}.";

/// Replaces every "{}" in the template with the label. Throws Error if the template has none.
std::string fill_template(std::string_view text, std::string_view label);

/// Divides each row of width `dim` by its L2 norm; a zero row stays zero.
void normalise_rows(std::span<float> rows, std::size_t dim);

/// A zero-shot classifier (arXiv 2103.00020, 3.1.4): for each label, the mean of its `templates` consecutive rows in
/// `prompts`, each normalised first; the mean is normalised again. prompts: labels × templates × dim; returns labels ×
/// dim. Throws Error if the sizes do not fit.
std::vector<float> zero_shot_head(std::span<const float> prompts, std::size_t templates, std::size_t dim);

/// softmax(scale · cosines), computed in double.
std::vector<double> softmax(std::span<const float> cosines, double scale);

/// Indices of the k largest values, largest first, the lower index first among equals; a NaN counts as the smallest.
std::vector<std::size_t> top_k(std::span<const double> values, std::size_t k);

/// Dot products of each row of `a` (n × dim) with each of `b` (m × dim): n × m. Throws Error when the sizes do not fit.
std::vector<float> similarities(std::span<const float> a, std::span<const float> b, std::size_t dim);

/// Retrieval recall@k: the share of queries (rows of n × m similarities) with at least one relevant item among the k
/// most similar, the lower index first among equals; a NaN counts as the smallest. relevant[q] lists the items relevant
/// to query q. Throws Error if the sizes do not fit or an item does not exist.
double recall_at_k(std::span<const float> similarity, std::span<const std::vector<int>> relevant, std::size_t items,
                   std::size_t k);

/// The share of rows (n × classes) whose own label is among their k largest values: recall_at_k with one relevant item.
double top_k_accuracy(std::span<const float> scores, std::span<const int> labels, std::size_t classes, std::size_t k);

}  // namespace gondola
