#pragma once

#include <gondola/export.h>

#include <stdexcept>

namespace gondola {

/// The only exception that Gondola throws for errors a user can cause: a missing file, a malformed model, a text that
/// is too long. The message names the file, tensor or field, and says what was found and what was expected.
class GONDOLA_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace gondola
