// bench_towers MODEL TOWER BATCH REPEATS PRECISION: prints the seconds that one batch takes with random weights, best
// of REPEATS. bench/compare compares them with PyTorch's.
#include <fmt/format.h>

#include <cmath>
#include <string>

#include "base/random.h"
#include "config/weight_shapes.h"
#include "engine/cpu_encoder.h"
#include "timing.h"

namespace {

using namespace gondola;

/// Random weights that keep activations in range: scaled by their fan-in, with norms at 1.
TensorMap random_weights(const ModelConfig& config) {
  Random random(1);
  TensorMap weights;
  for (const auto& [name, shape] : weight_shapes(config)) {
    std::int64_t count = 1, fan_in = 1;
    for (std::size_t i = 0; i < shape.size(); ++i) {
      count *= shape[i];
      if (i > 0) fan_in *= shape[i];
    }
    const bool one = shape.size() == 1 && (name.ends_with("weight") || name.ends_with("running_var"));
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values)
      value = one ? 1.0f : static_cast<float>(random.uniform(-1, 1) / std::sqrt(static_cast<double>(fan_in)));
    weights[name] = make_tensor(shape, std::move(values));
  }
  return weights;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string tower = argc == 6 ? argv[2] : "";
  if (tower != "image" && tower != "text") {
    fmt::print(stderr, "usage: bench_towers MODEL image|text BATCH REPEATS auto|fp32|bf16|int8\n");
    return 2;
  }
  const ModelConfig config = preset(argv[1]);
  const std::size_t batch = std::stoul(argv[3]);
  const auto size = static_cast<std::size_t>(config.image.image_size);
  const auto context = static_cast<std::size_t>(config.text.context_length);
  const TensorMap weights = random_weights(config);
  const auto precision = parse_precision(argv[5]).value_or(default_precision(weights));
  ThreadPool pool;
  const auto encoder = make_cpu_encoder(config, weights, {precision}, pool);
  std::vector<float> pixels(batch * 3 * size * size, 0.5f);
  std::vector<float> embeddings(batch * static_cast<std::size_t>(config.embed_dim));
  // The end token comes last, so that every position is computed.
  std::vector<std::int32_t> ids(batch * context, 320);
  for (std::size_t i = 0; i < batch; ++i) ids[(i + 1) * context - 1] = config.text.end_id;
  const auto run = [&] {
    if (tower == "image") {
      encoder->encode_images(pixels, embeddings);
    } else {
      encoder->encode_texts(ids, embeddings);
    }
  };
  run();  // packs the weights
  fmt::print("{:.6f}\n", best_of(std::stoi(argv[4]), run));
}
