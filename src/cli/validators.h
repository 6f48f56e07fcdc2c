#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <string>
#include <type_traits>

namespace gondola::cli {

/// A number within [low, high], which "nan" and "3 words" are not.
template <class Number>
CLI::Validator within(Number low, Number high) {
  return CLI::Validator(
      [=](const std::string& word) {
        Number number{};
        const char* const end = word.data() + word.size();
        const auto [rest, error] = std::from_chars(word.data(), end, number);
        const bool fits = error == std::errc() && rest == end && number >= low && number <= high;
        const char* const kind = std::is_integral_v<Number> ? "whole number" : "number";
        return fits ? "" : fmt::format("expected a {} from {} to {}, found {}", kind, low, high, word);
      },
      "");
}

/// Makes a larger whole number `most`.
inline CLI::Validator no_more_than(int most) {
  return CLI::Validator(
      [=](std::string& word) {
        int number = 0;
        const auto [rest, error] = std::from_chars(word.data(), word.data() + word.size(), number);
        if (error == std::errc() && rest == word.data() + word.size() && number > most) word = fmt::to_string(most);
        return std::string();
      },
      "");
}

}  // namespace gondola::cli
