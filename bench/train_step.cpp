// bench_train_step MODEL BATCH STEPS fp32|bf16 TEXT_TOKENS [key=value…]: prints the pairs per second of a training step
// (objective and optimiser) on random pixels and texts of TEXT_TOKENS tokens, and the fraction of the peak that the
// model's arithmetic (three times the forward pass) reaches; best of STEPS. A trace of the last step goes to
// train_step.json, for chrome://tracing. Keys: device, micro_batch_size, activation_checkpointing (only 1).
#include <fmt/format.h>
#include <torch/cuda.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "timing.h"
#include "train/allocator.h"
#include "train/flops.h"
#include "train/objective.h"
#include "train/optimiser.h"

int main(int argc, char** argv) {
  using namespace gondola;
  const std::string precision = argc < 6 ? "" : argv[4];
  if (precision != "fp32" && precision != "bf16") {
    fmt::print(stderr, "usage: bench_train_step MODEL BATCH STEPS fp32|bf16 TEXT_TOKENS [key=value…]\n");
    return 2;
  }
  keep_freed_memory();
  Recipe recipe;
  recipe.model = preset(argv[1]);
  recipe.batch_size = std::stoi(argv[2]);
  recipe.bf16 = precision == "bf16";
  for (int i = 6; i < argc; ++i) {
    const std::string option = argv[i];
    if (option.starts_with("device=")) {
      recipe.device = option.substr(7);
    } else if (option == "activation_checkpointing=1") {
      recipe.activation_checkpointing = true;
    } else if (option.starts_with("micro_batch_size=")) {
      recipe.micro_batch_size = std::stoi(option.substr(17));
    } else {
      fmt::print(stderr, "{}: no such option\n", option);
      return 2;
    }
  }
  const int tokens = std::stoi(argv[5]), steps = std::stoi(argv[3]), size = recipe.model.image.image_size;
  const TextTowerConfig& text = recipe.model.text;
  Batch batch;
  batch.pixels = torch::randn({recipe.batch_size, 3, size, size});
  batch.ids = torch::randint(1, text.start_id, {recipe.batch_size, tokens}, torch::kLong);
  batch.ids.select(1, 0).fill_(text.start_id);
  batch.ids.select(1, tokens - 1).fill_(text.end_id);
  batch.text_keys = torch::arange(recipe.batch_size, torch::kLong);
  batch.caption = batch.text_keys.unsqueeze(1);

  Communicator alone;
  Objective objective(recipe, alone);
  Optimiser optimiser(objective.parameters(), recipe, alone);
  const auto trace = std::make_shared<Trace>("train_step.json", 0);
  const auto synchronise = [&] {
    if (torch::Device(recipe.device).is_cuda()) torch::cuda::synchronize();
  };
  double best = INFINITY;
  for (int step = 0; step < steps; ++step) {
    if (step == steps - 1) objective.trace(trace);
    synchronise();
    const double seconds = seconds_of([&] {
      objective.backward(batch);
      {
        const Trace::Span span(objective.trace(), "update");
        optimiser.step(recipe.learning_rate);
      }
      objective.clamp_logit_scale();
      synchronise();
    });
    best = std::min(best, seconds);
  }
  const double rate = training_flops(recipe, recipe.batch_size, recipe.batch_size, tokens) / best;
  const double peak = peak_flops(recipe);
  fmt::print("{} batch {} {} {} tokens: {:.2f} pairs/s, {:.0f} ms, {:.3f} TFLOP/s, {:.0f} % of {:.3f}\n", argv[1],
             recipe.batch_size, precision, tokens, recipe.batch_size / best, 1e3 * best, rate * 1e-12,
             100 * rate / peak, peak * 1e-12);
}
