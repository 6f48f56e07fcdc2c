#pragma once

// Written by scripts/generate-text-tables.

#include <array>
#include <string_view>

namespace gondola {

struct HtmlEntity {
  std::string_view name, text;  ///< the name without '&', and with ';' unless HTML allows it to be left out
};

/// The entities of HTML 5, sorted by name.
extern const std::array<HtmlEntity, 2231> html5_entities;
/// Names in upper case that HTML does not have but ftfy does, sorted: "NTILDE;" for "Ñ".
extern const std::array<HtmlEntity, 1376> upper_cased_entities;

}  // namespace gondola
