#pragma once

#include <filesystem>

#include "base/error.h"

namespace gondola {

/// Returns body(); an exception for a path that the file system refuses to access becomes an Error.
template <class Body>
auto rethrow_filesystem_errors(const Body& body) {
  try {
    return body();
  } catch (const std::filesystem::filesystem_error& error) {
    throw Error(error.what());
  }
}

}  // namespace gondola
