#pragma once

#include <string>

#include "base/error.h"

namespace gondola {

/// Returns body(); the message of an Error that it throws then begins with `origin`.
template <class Body>
auto with_origin(const std::string& origin, const Body& body) {
  try {
    return body();
  } catch (const Error& error) {
    fail("{}: {}", origin, error.what());
  }
}

}  // namespace gondola
