#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <optional>
#include <string>
#include <type_traits>

namespace gondola::cli {

/// Parses a number; returns nothing unless the whole word is one.
template <class Number>
std::optional<Number> number_of(const std::string& word) {
  Number number{};
  const char* const end = word.data() + word.size();
  const auto [rest, error] = std::from_chars(word.data(), end, number);
  if (error != std::errc() || rest != end) return std::nullopt;
  return number;
}

/// Accepts numbers within [low, high], but not "nan" or "3 words".
template <class Number>
CLI::Validator within(Number low, Number high) {
  return CLI::Validator(
      [=](const std::string& word) {
        const auto number = number_of<Number>(word);
        const char* const kind = std::is_integral_v<Number> ? "whole number" : "number";
        return number && *number >= low && *number <= high
                   ? ""
                   : fmt::format("expected a {} from {} to {}, found {}", kind, low, high, word);
      },
      "");
}

/// Reduces a larger whole number to `most`.
inline CLI::Validator no_more_than(int most) {
  return CLI::Validator(
      [=](std::string& word) {
        if (const auto number = number_of<int>(word); number && *number > most) word = fmt::to_string(most);
        return std::string();
      },
      "");
}

}  // namespace gondola::cli
