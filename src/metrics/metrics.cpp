#include "metrics/metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace gondola {
namespace {

/// Makes a NaN compare as the smallest value, so that the order is total.
template <class T>
T sort_key(T value) {
  return std::isnan(value) ? -std::numeric_limits<T>::infinity() : value;
}

/// How many values come before values[index] when sorted largest first, the lower index first among equals.
std::size_t rank_of(std::span<const float> values, std::size_t index) {
  const float own = sort_key(values[index]);
  std::size_t before = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float other = sort_key(values[i]);
    before += other > own || (other == own && i < index);
  }
  return before;
}

/// Independent partial sums, so that the compiler may keep them in vector registers.
float dot(const float* a, const float* b, std::size_t count) {
  constexpr std::size_t lanes = 16;
  std::array<float, lanes> partial{};
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (std::size_t lane = 0; lane < lanes; ++lane) partial[lane] += a[i + lane] * b[i + lane];
  for (; i < count; ++i) partial[0] += a[i] * b[i];
  return std::accumulate(partial.begin(), partial.end(), 0.0f);
}

}  // namespace

std::string fill_template(std::string_view text, std::string_view label) {
  constexpr std::string_view placeholder = "{}";
  std::string filled;
  std::size_t start = 0, found = text.find(placeholder);
  if (found == std::string_view::npos) fail("template \"{}\": expected {{}} where the label goes", text);
  for (; found != std::string_view::npos; found = text.find(placeholder, start)) {
    filled.append(text.substr(start, found - start)).append(label);
    start = found + placeholder.size();
  }
  return filled.append(text.substr(start));
}

void normalise_rows(std::span<float> rows, std::size_t dim) {
  for (std::size_t start = 0; start + dim <= rows.size() && dim > 0; start += dim) {
    const std::span<float> row = rows.subspan(start, dim);
    double squares = 0;
    for (float value : row) squares += static_cast<double>(value) * value;
    if (squares == 0) continue;
    const double norm = std::sqrt(squares);
    for (float& value : row) value = static_cast<float>(value / norm);
  }
}

std::vector<float> zero_shot_head(std::span<const float> prompts, std::size_t templates, std::size_t dim) {
  if (templates == 0 || dim == 0 || prompts.size() % (templates * dim) != 0)
    fail("zero-shot head: {} values are not a whole number of {} templates of {}", prompts.size(), templates, dim);
  const std::size_t labels = prompts.size() / (templates * dim);
  std::vector<float> normalised(prompts.begin(), prompts.end());
  normalise_rows(normalised, dim);

  std::vector<float> head(labels * dim);
  std::vector<double> mean(dim);
  for (std::size_t label = 0; label < labels; ++label) {
    std::fill(mean.begin(), mean.end(), 0.0);
    const float* rows = normalised.data() + label * templates * dim;
    for (std::size_t i = 0; i < templates * dim; ++i) mean[i % dim] += rows[i];
    for (std::size_t i = 0; i < dim; ++i)
      head[label * dim + i] = static_cast<float>(mean[i] / static_cast<double>(templates));
  }
  normalise_rows(head, dim);
  return head;
}

std::vector<double> softmax(std::span<const float> cosines, double scale) {
  if (cosines.empty()) return {};
  const double largest = scale * *std::max_element(cosines.begin(), cosines.end());
  std::vector<double> scores;
  scores.reserve(cosines.size());
  double sum = 0;
  for (float cosine : cosines) {
    scores.push_back(std::exp(scale * cosine - largest));
    sum += scores.back();
  }
  for (double& score : scores) score /= sum;
  return scores;
}

std::vector<std::size_t> top_k(std::span<const double> values, std::size_t k) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  k = std::min(k, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k), order.end(),
                    [&](std::size_t a, std::size_t b) {
                      const double x = sort_key(values[a]), y = sort_key(values[b]);
                      return x != y ? x > y : a < b;
                    });
  order.resize(k);
  return order;
}

std::vector<float> similarities(std::span<const float> a, std::span<const float> b, std::size_t dim) {
  if (dim == 0 || a.size() % dim != 0 || b.size() % dim != 0)
    fail("similarities: {} and {} values are not whole rows of {}", a.size(), b.size(), dim);
  const std::size_t rows = a.size() / dim, columns = b.size() / dim;
  std::vector<float> products(rows * columns);
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t column = 0; column < columns; ++column)
      products[row * columns + column] = dot(a.data() + row * dim, b.data() + column * dim, dim);
  return products;
}

double recall_at_k(std::span<const float> similarity, std::span<const std::vector<int>> relevant, std::size_t items,
                   std::size_t k) {
  if (similarity.size() != relevant.size() * items)
    fail("recall: {} similarities do not fit {} queries of {} items", similarity.size(), relevant.size(), items);
  if (relevant.empty()) return 0;
  std::size_t found = 0;
  for (std::size_t query = 0; query < relevant.size(); ++query) {
    const std::span<const float> row = similarity.subspan(query * items, items);
    bool hit = false;
    for (const int item : relevant[query]) {
      if (item < 0 || static_cast<std::size_t>(item) >= items)
        fail("recall: item {} of query {} is not one of {}", item, query, items);
      hit = hit || rank_of(row, static_cast<std::size_t>(item)) < k;
    }
    found += hit;
  }
  return static_cast<double>(found) / static_cast<double>(relevant.size());
}

double top_k_accuracy(std::span<const float> scores, std::span<const int> labels, std::size_t classes, std::size_t k) {
  std::vector<std::vector<int>> relevant;
  for (const int label : labels) relevant.push_back({label});
  return recall_at_k(scores, relevant, classes, k);
}

}  // namespace gondola
