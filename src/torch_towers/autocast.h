#pragma once

#include <ATen/autocast_mode.h>

namespace gondola {

/// Turns autocast to bf16 on or off for the object's lifetime. Casts of weights do not outlive it, since the next step
/// changes the weights.
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
