#include "pipeline/device_encoder.h"

#include <dlfcn.h>

#include <filesystem>
#include <utility>

#include "base/environment.h"
#include "base/error.h"
#include "config/encoder_plugin.h"
#include "engine/cpu_encoder.h"

namespace gondola {
namespace {

namespace fs = std::filesystem;

/// Loads the library for as long as the program runs: PyTorch does not support being unloaded.
void* load_plugin() {
  const fs::path file = encoder_plugin_path();
  void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) fail("{}: {}", file.string(), ::dlerror());
  const auto version = reinterpret_cast<const char* (*)()>(::dlsym(library, encoder_plugin_version_function));
  const std::string found = version == nullptr ? "another version" : version();
  if (found != encoder_plugin_version())
    fail("{}: comes from the build \"{}\", this program from \"{}\"; build and install both together", file.string(),
         found, encoder_plugin_version());
  return library;
}

}  // namespace

fs::path encoder_plugin_path() {
  const fs::path folder = current_binary().parent_path();
  // In a build folder the library is beside this binary; an installation has it in lib/gondola.
  for (const char* place : {".", "../" GONDOLA_LIBRARY_FOLDER "/gondola", "gondola"})
    if (const fs::path file = folder / place / encoder_plugin_file; fs::exists(file)) return file.lexically_normal();
  fail("{}: not in {}; devices other than cpu need a build with PyTorch (CONTRIBUTING.md says how)",
       encoder_plugin_file, folder.string());
}

std::unique_ptr<Encoder> load_torch_encoder(const std::string& device, const ModelConfig& config,
                                            const TensorMap& weights, Precision precision) {
  static void* const library = load_plugin();
  using Make = Encoder* (*)(const ModelConfig&, const TensorMap&, const std::string&, Precision);
  const auto make = reinterpret_cast<Make>(::dlsym(library, encoder_plugin_make_function));
  return std::unique_ptr<Encoder>(make(config, weights, device, precision));
}

Precision default_precision(const std::string& device, const TensorMap& weights) {
  return device == "cpu" ? default_precision(weights) : Precision::bf16;
}

Precision image_precision(const std::string& device, const ModelConfig& config, Precision precision) {
  const bool is_vit = config.image.architecture == ImageArchitecture::vit;
  return device == "cpu" && !is_vit ? Precision::fp32 : precision;
}

std::unique_ptr<Encoder> make_encoder(const std::string& device, const ModelConfig& config, TensorMap weights,
                                      const CpuOptions& options, ThreadPool& pool) {
  if (device == "cpu") return make_cpu_encoder(config, std::move(weights), options, pool);
  return load_torch_encoder(device, config, weights, options.precision);
}

}  // namespace gondola
