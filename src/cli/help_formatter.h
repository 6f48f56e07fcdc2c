#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>

namespace gondola::cli {

/// The help of a command, without the types and constraints that CLI11 puts before each description.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter() { label("SUBCOMMAND", "COMMAND"); }

  /// What the option takes, such as " FILE"; nothing for a positional, whose name says it.
  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_positional() || option->get_type_size() == 0) return "";
    std::string text = option->get_option_text();
    if (text.empty()) text = value_name(option->get_type_name());
    return " " + text;
  }

  std::string make_option_desc(const CLI::Option* option) const override {
    const std::string& value = option->get_default_str();
    return option->get_description() + (value.empty() ? "" : " (default: " + value + ")") +
           (option->get_required() && !option->get_positional() ? " (required)" : "");
  }

 private:
  /// N for a number; of text the name of its validator: FILE for "TEXT:FILE", a|b for "TEXT:{a,b}".
  static std::string value_name(std::string type) {
    if (type == "INT" || type == "UINT" || type == "FLOAT") return "N";
    type.erase(0, type.find(':') + 1);
    if (type.starts_with('{')) {
      type = type.substr(1, type.size() - 2);
      std::ranges::replace(type, ',', '|');
    }
    return type.substr(0, type.find('('));  // PATH(existing)
  }
};

}  // namespace gondola::cli
