#include "train/trainer.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <torch/utils.h>

#include <chrono>
#include <cmath>
#include <set>
#include <tuple>
#include <utility>

#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "checkpoint/hugging_face_config.h"
#include "checkpoint/model_files.h"
#include "checkpoint/model_locations.h"
#include "text/train_bpe.h"
#include "torch_towers/tensors.h"
#include "train/flops.h"
#include "train/initial_weights.h"
#include "train/schedule.h"

namespace gondola {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The vocabulary of model.pretrained, else of model.pretrained_text, or OpenAI's without one.
std::optional<std::filesystem::path> default_vocabulary(const Recipe& recipe) {
  const std::string& name = recipe.pretrained.empty() ? recipe.pretrained_text : recipe.pretrained;
  if (name.empty()) return find_openai_vocabulary();
  const std::filesystem::path model = find_model(name);
  return find_vocabulary(std::filesystem::is_directory(model) ? model : model.parent_path(),
                         recipe.model.text.vocab_size);
}

ClipTokenizer find_tokenizer(const Recipe& recipe, const Dataset& data) {
  if (recipe.vocab_size > 0)
    return ClipTokenizer::from_merges(
        train_bpe([&](const auto& visit) { data.for_each_caption(visit); }, recipe.vocab_size));
  if (const auto vocabulary = default_vocabulary(recipe)) return ClipTokenizer::load(*vocabulary);
  fail(
      "no vocabulary: the recipe sets neither model.vocabulary nor model.vocab_size, and there is none beside "
      "model.pretrained or in the caches; --set model.vocab_size=8192 trains one");
}

/// Loads the recipe's vocabulary, or the one that the run saved at an earlier start; else trains one from the captions
/// or takes the default, and saves it, so that the run can go on without the model that it began with.
ClipTokenizer make_tokenizer(const Recipe& recipe, const Dataset& data, const std::filesystem::path& own) {
  if (recipe.vocabulary) return ClipTokenizer::load(*recipe.vocabulary);
  if (std::filesystem::exists(own / "merges.txt")) return ClipTokenizer::load(own);
  ClipTokenizer tokenizer = find_tokenizer(recipe, data);
  make_folder(own);
  tokenizer.save(own);
  return tokenizer;
}

constexpr const char* samples_key = "data.samples";

/// The loss of a model that finds each image's text no likelier than the others of the batch.
double loss_of_chance(const Recipe& recipe) {
  const double pairs = recipe.batch_size;
  const double from_negatives = (pairs - 1) * std::log(pairs / (pairs - 1));
  return std::log(pairs) + (recipe.model.sigmoid_loss ? from_negatives : 0);
}

/// Whether a tensor of Objective::tensors() is a running statistic, updated by the forward pass.
bool is_statistic(const std::string& name) {
  return name.ends_with(".running_mean") || name.ends_with(".running_var");
}

/// A copy of the running statistics, to be put back on demand.
class StatisticsBackup {
 public:
  explicit StatisticsBackup(const NamedTensors& tensors) {
    for (const auto& [name, tensor] : tensors)
      if (is_statistic(name)) copies_.emplace_back(tensor, tensor.clone());
  }
  void restore() const {
    for (const auto& [tensor, copy] : copies_) tensor.copy_(copy);
  }

 private:
  std::vector<std::pair<at::Tensor, at::Tensor>> copies_;
};

/// The values of a recipe that all ranks must share: not where each finds its files, nor what it computes on.
std::string shared_values(const Recipe& recipe) {
  auto values = recipe.values;
  for (const char* own :
       {"data.train", "data.validation", "model.vocabulary", "model.pretrained", "model.pretrained_image",
        "model.pretrained_text", "teacher.model", "train.device", "train.threads", "train.peak_tflops"})
    values.erase(own);
  std::string lines;
  for (const auto& [key, value] : values) lines += fmt::format("{} = {}\n", key, value);
  return lines;
}

/// Warnings about settings that may not be intended.
std::vector<std::string> warnings(const Recipe& recipe) {
  std::vector<std::string> lines;
  if (recipe.warmup_steps >= recipe.steps)
    lines.push_back(
        fmt::format("the learning rate rises to the very end: train.warmup_steps is {}", recipe.warmup_steps));
  else if (recipe.schedule == Schedule::constant && recipe.warmup_steps + recipe.cooldown_steps > recipe.steps)
    lines.push_back(
        fmt::format("the learning rate drops right after its warm-up: train.warmup_steps {} and "
                    "cooldown_steps {} are more than train.steps {}",
                    recipe.warmup_steps, recipe.cooldown_steps, recipe.steps));
  for (const auto& [locked, pretrained, tower] : {std::tuple(recipe.lock_image, &recipe.pretrained_image, "image"),
                                                  std::tuple(recipe.lock_text, &recipe.pretrained_text, "text")})
    if (locked && recipe.pretrained.empty() && pretrained->empty())
      lines.push_back(fmt::format(
          "the {0} tower is locked with random weights: neither model.pretrained nor model.pretrained_{0} is set",
          tower));
  if (recipe.bf16 && recipe.device == "cpu" && active_isa() < Isa::avx512bf16)
    lines.push_back("this processor has no bf16: --set train.precision=fp32 is faster");
  return lines;
}

/// Opens the training data. An index must name the same sample on all ranks and whenever the run is resumed.
std::unique_ptr<Dataset> open_training_set(Recipe& recipe, Communicator& communicator) {
  communicator.require_same("recipes", shared_values(recipe));
  Loader::check_ranks(recipe, communicator.size());
  auto data = open_datasets(recipe.train, recipe.templates);
  const auto batches = static_cast<double>(Loader::batches_per_epoch(*data, recipe));
  if (recipe.epochs * batches > 1e15) fail("train.epochs = {} of {} batches are too many", recipe.epochs, batches);
  if (recipe.steps == 0) recipe.steps = std::llround(recipe.epochs * batches);
  if (recipe.steps == 0) fail("train.epochs = {} of {} batches is less than a step", recipe.epochs, batches);
  Hash shards;
  for (const Part& part : data->parts())
    for (const std::size_t samples : part.shards) shards.add(fmt::format("{} ", samples));
  recipe.values[samples_key] = fmt::format("{} ({:016x})", data->size(), shards.value());
  communicator.require_same("training sets", recipe.values[samples_key]);
  return data;
}

/// Throws Error, before the first step, when none of its samples can be read.
void check_readable(const Dataset& data) {
  std::string last;
  for (std::size_t i = 0; i < data.size(); ++i) {
    try {
      read_sample(data, i);
      return;
    } catch (const Error& error) {
      last = error.what();
    }
  }
  fail("none of the {} validation samples can be read, the last: {}", data.size(), last);
}

std::vector<std::unique_ptr<Dataset>> open_validation_sets(const Recipe& recipe, Communicator& communicator) {
  std::vector<std::unique_ptr<Dataset>> sets;
  if (communicator.rank() > 0) return sets;  // rank 0 alone validates
  for (const std::string& source : recipe.validation) {
    sets.push_back(open_dataset(source, recipe.validation_templates));
    check_readable(*sets.back());
  }
  return sets;
}

/// Calls `make` on rank 0 first, so that the other ranks find what it made.
template <class Make>
auto rank_0_first(Communicator& communicator, const Make& make) {
  if (communicator.rank() > 0) communicator.barrier();
  auto made = make();
  if (communicator.rank() == 0) communicator.barrier();
  return made;
}

}  // namespace

Trainer::Trainer(Recipe recipe, const std::filesystem::path& out, bool resume, Communicator& communicator,
                 std::int64_t traced_steps)
    : communicator_(communicator),
      recipe_(std::move(recipe)),
      data_(open_training_set(recipe_, communicator)),
      validation_(open_validation_sets(recipe_, communicator)),
      folder_(rank_0_first(communicator, [&] { return RunFolder(out, recipe_, resume, communicator.rank() == 0); })),
      traced_steps_(traced_steps),
      guard_(recipe_.spike_guard) {
  at::set_num_threads(recipe_.threads);
  tokenizer_ = rank_0_first(communicator_, [&] {
    return std::make_unique<ClipTokenizer>(make_tokenizer(recipe_, *data_, folder_.vocabulary()));
  });
  communicator_.require_same("vocabularies", fmt::format("{:016x}", tokenizer_->hash_of_tokens()));
  if (traced_steps_ > 0)
    trace_ =
        rank_0_first(communicator_, [&] { return std::make_shared<Trace>(folder_.trace(), communicator_.rank()); });

  TextTowerConfig& text = recipe_.model.text;
  text.vocab_size = tokenizer_->size();
  text.start_id = tokenizer_->start_id();
  text.end_id = tokenizer_->end_id();
  if (text.end_id != text.vocab_size - 1) text.pooling = TextPooling::end_token;
  if (export_family(recipe_.model) == Family::hugging_face) to_hugging_face_config(recipe_.model);  // fails early

  torch::manual_seed(recipe_.seed);
  objective_ = std::make_unique<Objective>(recipe_, communicator_);
  objective_->trace(trace_);
  if (!recipe_.teacher.empty()) teacher_ = std::make_unique<Teacher>(recipe_, *tokenizer_, communicator_);
  objective_->set_teacher(teacher_.get());
  if (!folder_.has_checkpoint()) load_initial_weights(objective_->tensors(), recipe_, *tokenizer_);
  NamedTensors moving;
  for (const auto& [name, tensor] : objective_->tensors())
    if (tensor.requires_grad() || is_statistic(name)) moving.emplace_back(name, tensor);
  objective_->broadcast();
  optimiser_ = std::make_unique<Optimiser>(objective_->parameters(), recipe_, communicator_);
  if (recipe_.ema_decay > 0) average_ = std::make_unique<WeightAverage>(moving, recipe_.ema_decay);
}

Trainer::StepResult Trainer::step(const Batch& batch, double learning_rate) {
  std::optional<StatisticsBackup> backup;
  if (recipe_.spike_guard > 0) backup.emplace(objective_->tensors());
  const double loss = objective_->backward(batch);
  const double norm = clip_gradients(objective_->parameters(), recipe_.gradient_clip, communicator_);
  if (guard_.accepts(loss, norm)) {
    const Trace::Span span(objective_->trace(), "update weights");
    optimiser_->step(learning_rate);
    objective_->clamp_logit_scale();
    ++updates_;
    if (average_) average_->update(updates_);
  } else {
    optimiser_->zero_grad();
    backup->restore();
  }
  return {loss, norm};
}

bool Trainer::run_validation(std::int64_t steps, bool again) {
  if (!outputs_) return true;  // the others wait where they next need rank 0
  const auto waiting = communicator_.waiting_for_io();
  const AveragedWeights averaged(average_.get());
  const auto done = again ? folder_.validated(steps) : std::set<std::string>();
  objective_->train(false);
  bool complete = true;
  for (std::size_t set = 0; set < validation_.size(); ++set) {
    if (done.contains(recipe_.validation[set])) continue;
    nlohmann::ordered_json line = {{"step", steps}, {"validation", recipe_.validation[set]}};
    std::string text = fmt::format("step {}  {}", steps, recipe_.validation[set]);
    const auto figures = validate(*validation_[set], *tokenizer_, recipe_, objective_->evaluation_encoders());
    complete = figures.has_value();
    if (!complete) break;
    for (const auto& [name, value] : *figures) {
      line[name] = value;
      text += fmt::format("  {} {:.2f}", name, value);
      outputs_->events.scalar(fmt::format("{}/{}", name, set), steps, value);
    }
    folder_.log(line);
    message(text);
  }
  objective_->train(true);
  write_report(steps);
  return complete;
}

bool Trainer::run() {
  std::int64_t steps = restore();
  if (steps > recipe_.steps) fail("{} steps are done, and the recipe ends after {}", steps, recipe_.steps);
  if (communicator_.rank() == 0) outputs_.emplace(folder_, steps, recipe_.steps);
  if (steps > 0) message(fmt::format("resuming after step {}", steps));
  const ParameterCount count = count_parameters(recipe_.model);
  message(fmt::format("{} samples, {} steps of {}{}, {:.2f} M parameters, {} tokens{}", data_->size(), recipe_.steps,
                      recipe_.batch_size,
                      communicator_.size() == 1 ? "" : fmt::format(" on {} ranks", communicator_.size()),
                      static_cast<double>(count.total) / 1e6, tokenizer_->size(),
                      recipe_.teacher.empty() ? fmt::format("; a loss of {:.3f} is chance", loss_of_chance(recipe_))
                                              : ""));  // a teacher changes the loss of chance
  for (const std::string& line : warnings(recipe_)) message(line);

  const auto is_validated = [&](std::int64_t after) {
    return after > 0 && after % recipe_.validate_every_steps == 0 && after != recipe_.steps;  // at the end anyway
  };
  const std::int64_t resumed_at = steps;
  if (is_validated(steps)) run_validation(steps, /*again=*/true);  // what was interrupted
  const double peak = steps < recipe_.steps ? peak_flops(recipe_) : 0;
  const auto close = [this](Loader* open) {  // it may wait for a server
    const auto waiting = communicator_.waiting_for_io();
    delete open;
  };
  const std::unique_ptr<Loader, decltype(close)> loader(
      new Loader(*data_, *tokenizer_, recipe_, steps, recipe_.steps, communicator_.rank(), communicator_.size()),
      close);
  if (outputs_) outputs_->view.begin();
  while (steps < recipe_.steps) {
    if (trace_ && steps == resumed_at + traced_steps_) objective_->trace(nullptr);
    const auto start = Clock::now();
    const std::optional<Batch> loaded = next_batch(*loader);
    const double waited = seconds_since(start);
    if (communicator_.any(!loaded || interrupted())) break;
    const Batch& batch = *loaded;
    const double rate = learning_rate_at(steps, recipe_);
    StepResult result;
    try {
      result = step(batch, rate);
    } catch (const Error&) {  // the curves show how the run diverged
      try {
        write_report(steps);
      } catch (const std::exception&) {  // the error that ended the run matters more
      }
      throw;
    }
    const double seconds = seconds_since(start);
    const double tokens = 1 + pooled_positions(batch.ids, recipe_.model.text).to(at::kFloat).mean().item<double>();
    const double flops =
        training_flops(recipe_, batch.pixels.size(0), batch.ids.size(0), static_cast<int>(std::lround(tokens)));
    ++steps;
    show({.step = steps,
          .loss = result.loss,
          .learning_rate = rate,
          .scale = objective_->scale(),
          .bias = objective_->bias(),
          .gradient_norm = result.gradient_norm,
          .skipped = guard_.skipped(),
          .samples_per_second = recipe_.batch_size / seconds,
          .loader_wait = waited / seconds,
          .mfu = flops / seconds / peak});
    if (steps % recipe_.save_every_steps == 0) save(steps);
    if (is_validated(steps)) run_validation(steps, /*again=*/false);
  }
  save(steps);
  communicator_.barrier();  // an error ends all ranks, but rank 0 must first finish the checkpoint
  if (failure_) std::rethrow_exception(failure_);
  if (steps < recipe_.steps) {
    write_report(steps);
    message(fmt::format("stopped after step {}; --resume continues", steps));
    return false;
  }
  if (!run_validation(steps, steps == resumed_at)) {
    message("stopped in the last validation; --resume continues");
    return false;
  }
  if (outputs_) write_model();
  message(fmt::format("the model is in {}", folder_.model().string()));
  return true;
}

void Trainer::show(const StepMetrics& metrics) {
  if (!outputs_) return;
  const auto waiting = communicator_.waiting_for_io();
  nlohmann::ordered_json line = {{"step", metrics.step}};
  for (const auto& [name, value] : metrics.list()) {
    line[name] = value;
    outputs_->events.scalar(name, metrics.step, value);
  }
  folder_.log(line);
  outputs_->view.step(metrics);
}

void Trainer::message(const std::string& line) {
  if (outputs_) outputs_->view.message(line);
}

void Trainer::write_report(std::int64_t steps) const {
  const auto waiting = communicator_.waiting_for_io();
  const ParameterCount count = count_parameters(recipe_.model);
  Named<std::string> summary = {
      {"steps", fmt::format("{} of {}, {} pairs each", steps, recipe_.steps, recipe_.batch_size)},
      {"pairs seen", fmt::format("{}, of {}", steps * recipe_.batch_size, data_->size())},
      {"model", fmt::format("{} {:.2f} M parameters, {} tokens", recipe_.model.name,
                            static_cast<double>(count.total) / 1e6, tokenizer_->size())},
      {"computed", fmt::format("in {} on {}", recipe_.bf16 ? "bf16" : "fp32", recipe_.device)},
      {"updates skipped", fmt::format("{}", guard_.skipped())}};
  if (recipe_.teacher.empty()) summary.emplace_back("loss of chance", fmt::format("{:.3f}", loss_of_chance(recipe_)));
  folder_.write_report(summary, recipe_);
}

std::optional<Batch> Trainer::next_batch(Loader& loader) {
  const Trace::Span span(objective_->trace(), "wait for data");
  try {
    const auto waiting = communicator_.waiting_for_io();
    return loader.next();
  } catch (const std::exception&) {
    failure_ = std::current_exception();
    return std::nullopt;
  }
}

void Trainer::save(std::int64_t steps) {
  if (steps == std::exchange(saved_, steps)) return;
  TrainingState state{steps, optimiser_->state()};  // gathers all ranks' shards
  if (communicator_.rank() != 0) return;
  const auto waiting = communicator_.waiting_for_io();
  state.tensors.merge(objective_->state());
  if (average_) state.tensors.merge(average_->state());
  if (recipe_.spike_guard > 0) state.tensors["spike_guard"] = guard_.state();
  folder_.save(state);
}

std::int64_t Trainer::restore() {
  const auto waiting = communicator_.waiting_for_io();  // to the end: the mapped file is read only as it is copied
  const auto state = rank_0_first(communicator_, [&] { return folder_.restore(); });
  communicator_.require_same("checkpoints", fmt::format("step {}", state ? state->steps : 0));
  if (!state) return 0;
  objective_->load_state(state->tensors);
  if (average_) average_->load_state(state->tensors);
  if (recipe_.spike_guard > 0) guard_.load_state(state->tensors.at("spike_guard"));
  saved_ = state->steps;
  updates_ = state->steps - guard_.skipped();
  optimiser_->load_state(state->tensors, updates_);
  return state->steps;
}

void Trainer::write_model() {
  const auto waiting = communicator_.waiting_for_io();
  const AveragedWeights averaged(average_.get());
  ModelFiles files;
  files.config = recipe_.model;
  files.preprocess = recipe_.preprocess;
  files.weights = objective_->weights();
  files.family = export_family(recipe_.model);
  write_model_folder(folder_.model(), files, tokenizer_.get(), recipe_.export_dtype);
}

}  // namespace gondola
