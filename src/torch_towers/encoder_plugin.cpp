// The functions that libgondola-torch exports (config/encoder_plugin.h).
#include "config/encoder_plugin.h"

#include "torch_towers/torch_encoder.h"

extern "C" {

__attribute__((visibility("default"))) const char* gondola_encoder_version() {
  static const std::string version = gondola::encoder_plugin_version();
  return version.c_str();
}

__attribute__((visibility("default"))) gondola::Encoder* gondola_make_encoder(const gondola::ModelConfig& config,
                                                                              const gondola::TensorMap& weights,
                                                                              const std::string& device,
                                                                              gondola::Precision precision) {
  return gondola::make_torch_encoder(config, weights, device, precision).release();
}
}
