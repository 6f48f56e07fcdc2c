#pragma once

#include <filesystem>

#include "base/error.h"

namespace gondola {

/// What `body` returns; a path that the file system refuses to look at becomes an Error.
template <class Body>
auto with_errors(const Body& body) {
  try {
    return body();
  } catch (const std::filesystem::filesystem_error& error) {
    throw Error(error.what());
  }
}

}  // namespace gondola
