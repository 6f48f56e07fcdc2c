#pragma once

// Written by scripts/generate-text-tables.

#include <array>
#include <string_view>

namespace gondola {

struct HtmlEntity {
  std::string_view name, text;  ///< the name without '&'; with ';' save for the old ones that do without
};

/// HTML 5's, in the order of names.
extern const std::array<HtmlEntity, 2231> html5_entities;
/// Names that only shouting makes of lower-case ones, with upper-case text, which ftfy also knows.
extern const std::array<HtmlEntity, 1376> upper_cased_entities;

}  // namespace gondola
