#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace gondola {

/// Repairs text that was UTF-8 but was decoded in another encoding, once or several times ("sÃ³" for "só"): ftfy's
/// fix_encoding with its default settings (ftfy/__init__.py). Other text is left alone. `work` is the number of bytes
/// that repeated repairs may still process; once it is used up, the rest is left as it is.
std::string fix_encoding(std::string_view utf8, std::size_t& work);

/// Replaces the controls U+0080 to U+009F with the characters that Windows-1252 has there (ftfy's fix_c1_controls).
std::string fix_c1_controls(std::string_view utf8);

}  // namespace gondola
