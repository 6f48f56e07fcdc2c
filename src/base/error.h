#pragma once

#include <fmt/format.h>

#include <gondola/error.h>
#include <utility>

namespace gondola {

/// Throws Error with a formatted message.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace gondola
