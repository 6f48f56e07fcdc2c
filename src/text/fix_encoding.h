#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace gondola {

/// Repairs text that was UTF-8 and was decoded in another encoding, once or several times ("sÃ³" for "só"): ftfy's
/// fix_encoding with its default settings (ftfy/__init__.py). What does not look like that stays as it is. `work` is
/// how many bytes repeated repairs may still go over; when it is used up, the rest stays too.
std::string fix_encoding(std::string_view utf8, std::size_t& work);

/// The controls U+0080 to U+009F as the characters that Windows-1252 has there (ftfy's fix_c1_controls).
std::string fix_c1_controls(std::string_view utf8);

}  // namespace gondola
