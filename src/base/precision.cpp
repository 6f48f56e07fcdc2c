#include "base/precision.h"

#include "base/error.h"

namespace gondola {

std::optional<Precision> parse_precision(std::string_view wanted) {
  if (wanted == "auto") return std::nullopt;
  for (std::size_t i = 0; i < precision_names.size(); ++i)
    if (precision_names[i] == wanted) return static_cast<Precision>(i);
  fail("precision {}: expected auto, fp32, bf16 or int8", wanted);
}

}  // namespace gondola
