#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gondola {

/// The optimal string alignment distance (Damerau 1964): how many letters must be replaced, inserted, deleted or
/// swapped with a neighbour to turn one word into the other.
inline std::size_t spelling_distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> before, above, row(to.size() + 1);
  for (std::size_t j = 0; j <= to.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= from.size(); ++i) {
    before = std::exchange(above, row);
    row[0] = i;
    for (std::size_t j = 1; j <= to.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (from[i - 1] != to[j - 1])});
      const bool exchanged = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
      if (exchanged) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row.back();
}

/// "; did you mean …?" with the nearest of `known`, after `prefix`, to a word that is not among them, if at most a
/// third of its letters are wrong; else "".
inline std::string spelling_suggestion(std::string_view word, const auto& known, std::string_view prefix = "") {
  std::string_view nearest;
  std::size_t least = word.size() / 3 + 1;
  for (const std::string& candidate : known) {
    const std::size_t distance = spelling_distance(word, candidate);
    if (distance < least) nearest = candidate, least = distance;
  }
  return nearest.empty() ? std::string() : "; did you mean " + std::string(prefix).append(nearest) + "?";
}

}  // namespace gondola
