#pragma once

#include <ATen/autocast_mode.h>

namespace gondola {

/// bf16 arithmetic where autocast deems it safe, for the lifetime of the object. No cast of a weight outlives it: the
/// next step's weights are others.
class Autocast {
 public:
  Autocast(bool bf16, c10::DeviceType device) : device_(device), was_(at::autocast::is_autocast_enabled(device)) {
    at::autocast::set_autocast_enabled(device_, bf16);
    at::autocast::set_autocast_dtype(device_, at::kBFloat16);
  }
  ~Autocast() {
    at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device_, was_);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  c10::DeviceType device_;
  bool was_;
};

}  // namespace gondola
