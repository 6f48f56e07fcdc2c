#include "pipeline/fingerprint.h"

#include <fmt/format.h>

#include "base/file.h"
#include "base/hash.h"

namespace gondola {
namespace {

namespace fs = std::filesystem;

// The bindings name every field, so that a new field does not compile until it is added here.

std::string describe(const ImageTowerConfig& config) {
  const auto& [architecture, image_size, width, heads, activation, patch_size, layers, mlp_width, norm_eps, pre_norm,
               pooling, final_norm_after_pooling, stage_blocks] = config;
  return fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {}", static_cast<int>(architecture), image_size, width, heads,
                     static_cast<int>(activation), patch_size, layers, mlp_width, norm_eps, pre_norm,
                     static_cast<int>(pooling), final_norm_after_pooling, fmt::join(stage_blocks, " "));
}

std::string describe(const TextTowerConfig& config) {
  const auto& [context_length, vocab_size, width, heads, layers, mlp_width, activation, norm_eps, causal, pooling,
               start_id, end_id, pad_id, projection_bias] = config;
  return fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {} {}", context_length, vocab_size, width, heads, layers,
                     mlp_width, static_cast<int>(activation), norm_eps, causal, static_cast<int>(pooling), start_id,
                     end_id, pad_id, projection_bias);
}

std::string describe(const PreprocessConfig& config) {
  const auto& [size, resize_mode, interpolation, mean, std, fill, library] = config;
  return fmt::format("{} {} {} {} {} {} {}", size, static_cast<int>(resize_mode), static_cast<int>(interpolation),
                     fmt::join(mean, " "), fmt::join(std, " "), fill, static_cast<int>(library));
}

/// Hashes the bytes of every file that the vocabulary at `path` may consist of (text/vocabulary_files.h).
std::uint64_t hash_vocabulary(const fs::path& path) {
  const fs::path beside = path.parent_path();
  Hash hash;
  for (const fs::path& file : {path, path / "vocab.json", path / "merges.txt", path / "tokenizer.json",
                               path / "added_tokens.json", beside / "merges.txt", beside / "added_tokens.json"})
    if (fs::is_regular_file(file)) hash.add(file.filename().string() + "\n" + read_file(file));
  return hash.value();
}

std::string describe_weights(const LoadedModel& model) {
  return fmt::format("weights {:016x}, {} values\n", model.weights_hash(), model.embed_dim());
}

}  // namespace

std::string image_fingerprint(const LoadedModel& model) {
  return fmt::format("{}image tower {}\npreprocessing {}\n", describe_weights(model), describe(model.config().image),
                     describe(model.files().preprocess));
}

std::string text_fingerprint(const LoadedModel& model) {
  const auto& vocabulary = model.files().vocabulary;
  return fmt::format("{}text tower {}\nvocabulary {:016x}\n", describe_weights(model), describe(model.config().text),
                     vocabulary ? hash_vocabulary(*vocabulary) : 0);
}

}  // namespace gondola
