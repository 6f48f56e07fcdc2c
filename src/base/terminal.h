#pragma once

#include <cstddef>
#include <cstdio>

namespace gondola {

/// The width in columns of the terminal that a stream writes to; 80 if it is not known.
std::size_t terminal_width(std::FILE* stream);

}  // namespace gondola
