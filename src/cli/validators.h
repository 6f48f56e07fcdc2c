#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <string>
#include <type_traits>

#include "base/ascii.h"

namespace gondola::cli {

/// Accepts numbers within [low, high], but not "nan", "3 words" or "010", which CLI11 reads as octal.
template <class Number>
CLI::Validator within(Number low, Number high) {
  return CLI::Validator(
      [=](const std::string& word) {
        const auto number = parse_number<Number>(word);
        const bool octal = std::is_integral_v<Number> && word.size() > 1 && word.front() == '0';
        const char* const kind = std::is_integral_v<Number> ? "whole number" : "number";
        return number && !octal && *number >= low && *number <= high
                   ? ""
                   : fmt::format("expected a {} from {} to {}, found {}", kind, low, high, word);
      },
      "");
}

/// Reduces a larger whole number to `most`.
inline CLI::Validator no_more_than(int most) {
  return CLI::Validator(
      [=](std::string& word) {
        if (const auto number = parse_number<int>(word); number && *number > most) word = fmt::to_string(most);
        return std::string();
      },
      "");
}

}  // namespace gondola::cli
