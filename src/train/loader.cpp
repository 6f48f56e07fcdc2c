#include "train/loader.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <ranges>
#include <span>
#include <string_view>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/random.h"
#include "base/streams.h"
#include "image/augment.h"

namespace gondola {
namespace {

constexpr std::int64_t batches_ahead = 2;  // ready or being loaded

/// Separates the streams of random numbers that one seed feeds.
enum Stream : std::uint64_t { sample_stream = 1, class_stream = 2, patch_stream = 3 };

int loader_threads(const Recipe& recipe) {
  return recipe.device.starts_with("cuda") ? recipe.threads : 2;
}

/// Calls take(number) with the numbers below `size` in random order, each once, until it returns false.
template <class Take>
void draw(std::size_t size, Random random, const Take& take) {
  std::vector<std::size_t> numbers(size);
  std::iota(numbers.begin(), numbers.end(), 0);
  for (std::size_t i = 0; i < size; ++i) {
    std::swap(numbers[i], numbers[i + random.below(size - i)]);
    if (!take(numbers[i])) return;
  }
}

TokenIds encode(const ClipTokenizer& tokenizer, const TextTowerConfig& text, const std::string& caption) {
  return tokenizer.encode(caption, text.context_length, Overflow::truncate).ids;
}

at::Tensor pad(const TextTowerConfig& text, const std::vector<TokenIds>& texts) {
  std::size_t longest = 1;
  for (const TokenIds& ids : texts) longest = std::max(longest, ids.size());
  auto padded = at::empty({static_cast<std::int64_t>(texts.size()), static_cast<std::int64_t>(longest)}, at::kLong);
  padded.fill_(text.pad_id);
  for (std::size_t row = 0; row < texts.size(); ++row)
    std::copy(texts[row].begin(), texts[row].end(), padded.data_ptr<std::int64_t>() + row * longest);
  return padded;
}

}  // namespace

Loader::Loader(const Dataset& dataset, const ClipTokenizer& tokenizer, const Recipe& recipe, std::int64_t first_step,
               std::int64_t last_step, int rank, int ranks)
    : dataset_(dataset),
      tokenizer_(tokenizer),
      recipe_(recipe),
      order_(dataset, recipe.seed),
      next_to_load_(first_step),
      next_to_give_(first_step),
      end_(last_step),
      rank_(rank),
      ranks_(ranks),
      pool_(loader_threads(recipe)) {
  thread_ = std::thread([this] { work(); });
}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Loader::check_ranks(const Recipe& recipe, int ranks) {
  if (recipe.batch_size % ranks != 0)
    fail("train.batch_size is {}, which {} ranks cannot share equally; it must be a multiple of their number",
         recipe.batch_size, ranks);
}

std::int64_t Loader::batches_per_epoch(const Dataset& dataset, const Recipe& recipe) {
  const std::size_t samples = SampleOrder(dataset, recipe.seed).size();
  const auto batches = static_cast<std::int64_t>(samples) / recipe.batch_size;
  if (batches == 0) fail("the training set has {} samples, fewer than one batch of {}", samples, recipe.batch_size);
  return batches;
}

std::optional<Batch> Loader::next() {
  std::unique_lock lock(mutex_);
  while (!error_ && !ready_.contains(next_to_give_) && !interrupted())
    changed_.wait_for(lock, std::chrono::milliseconds(100));  // a signal does not wake us
  if (!ready_.contains(next_to_give_)) {                      // batches loaded before an error come first
    if (interrupted()) return std::nullopt;
    std::rethrow_exception(error_);
  }
  Batch batch = std::move(ready_.extract(next_to_give_++).mapped());
  lock.unlock();
  changed_.notify_all();
  return batch;
}

void Loader::work() {
  for (;;) {
    std::int64_t step;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stop_ || next_to_load_ < next_to_give_ + batches_ahead; });
      if (stop_ || next_to_load_ == end_) return;
      step = next_to_load_++;
    }
    try {
      Batch batch = load(step);
      const std::lock_guard lock(mutex_);
      ready_.emplace(step, std::move(batch));
    } catch (...) {
      const std::lock_guard lock(mutex_);
      error_ = std::current_exception();
      next_to_load_ = end_;  // nothing follows
    }
    changed_.notify_all();
  }
}

/// Draws captions_per_image different captions; if there are fewer, they repeat.
std::vector<std::string> Loader::draw_captions(const Sample& sample, std::uint64_t epoch, std::int64_t batch,
                                               std::uint64_t sample_seed) const {
  std::uint64_t seed = mix_seed(sample_seed, sample_stream);
  if (sample.label >= 0) {  // the same captions for a class in a batch (docs/decisions.md)
    seed = mix_seed(mix_seed(recipe_.seed, class_stream), epoch);
    seed = mix_seed(mix_seed(seed, static_cast<std::uint64_t>(batch)), static_cast<std::uint64_t>(sample.label));
  }
  const auto count = static_cast<std::size_t>(recipe_.captions_per_image);
  std::vector<std::string> captions;
  draw(sample.captions.size(), Random(seed), [&](std::size_t index) {
    const std::string& caption = sample.captions[index];  // a likely one may be listed several times
    if (std::ranges::find(captions, caption) == captions.end()) captions.push_back(caption);
    return captions.size() < count;
  });
  for (std::size_t i = 0; captions.size() < count; ++i) captions.push_back(captions[i]);
  return captions;
}

void Loader::count_read_failure(const std::string& message) {
  constexpr std::int64_t too_many = 1000;  // as when a server or a disk is gone
  if (++in_a_row_ > std::max(recipe_.max_read_failures, too_many))
    fail("{} samples in a row could not be read, the last: {}", in_a_row_.load(), message);
  const std::lock_guard lock(mutex_);
  if (!failures_.insert(hash_of(message)).second) return;  // known from an earlier epoch or the same shard
  print_error("gondola train: skipped: {}", message);
  if (static_cast<std::int64_t>(failures_.size()) > recipe_.max_read_failures)
    fail("more than {} failures to read samples (data.max_read_failures), the last: {}", recipe_.max_read_failures,
         message);
}

void Loader::draw_patches(std::uint64_t sample_seed, std::span<std::int64_t> kept) const {
  auto next = kept.begin();
  draw(static_cast<std::size_t>(recipe_.model.image.tokens() - 1), Random(mix_seed(sample_seed, patch_stream)),
       [&](std::size_t patch) {
         *next++ = static_cast<std::int64_t>(patch);
         return next != kept.end();
       });
  std::sort(kept.begin(), kept.end());
}

Batch Loader::load(std::int64_t step) {
  const std::int64_t batches = static_cast<std::int64_t>(order_.size()) / recipe_.batch_size;
  const auto epoch = static_cast<std::uint64_t>(step / batches);
  const std::int64_t batch_of_epoch = step % batches;
  const int size = recipe_.preprocess.size, count = recipe_.batch_size / ranks_;
  const std::int64_t first = batch_of_epoch * recipe_.batch_size + std::int64_t{rank_} * count;

  Batch batch;
  const bool for_gpu = recipe_.device.starts_with("cuda");
  batch.pixels = at::empty({count, 3, size, size}, at::TensorOptions(at::kFloat).pinned_memory(for_gpu));
  if (recipe_.patch_dropout > 0) {
    const double kept = (1 - recipe_.patch_dropout) * (recipe_.model.image.tokens() - 1);
    batch.patches = at::empty({count, std::max<std::int64_t>(1, std::llround(kept))}, at::kLong);
  }
  std::vector<std::vector<TokenIds>> drawn(static_cast<std::size_t>(count));
  pool_.parallel_for(drawn.size(), [&](std::size_t row, int) {
    if (stop_ || interrupted()) fail("interrupted");  // nobody will ask for this batch
    const auto position = static_cast<std::size_t>(first) + row;
    drawn[row] = load_sample(batch, static_cast<std::int64_t>(row), epoch, batch_of_epoch, position);
  });
  std::vector<TokenIds> texts;              // distinct
  std::map<TokenIds, std::int64_t> row_of;  // of a text
  std::vector<std::int64_t> rows, keys;
  for (TokenIds& ids : drawn | std::views::join) {
    const auto [found, is_new] = row_of.emplace(ids, static_cast<std::int64_t>(texts.size()));
    if (is_new) {
      const std::string_view bytes(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(ids[0]));
      keys.push_back(static_cast<std::int64_t>(hash_of(bytes)));
      texts.push_back(std::move(ids));
    }
    rows.push_back(found->second);
  }
  batch.caption = at::tensor(rows).view({count, recipe_.captions_per_image});
  batch.text_keys = at::tensor(keys);
  batch.ids = pad(recipe_.model.text, texts);
  return batch;
}

/// Writes the pixels and patches of a row and returns its texts. The sample is the one at `position` in the epoch, or
/// the next that can be read.
std::vector<TokenIds> Loader::load_sample(Batch& batch, std::int64_t row, std::uint64_t epoch,
                                          std::int64_t batch_of_epoch, std::size_t position) {
  const auto row_of = [row](const at::Tensor& rows, auto* first) {
    return std::span(first + row * rows.stride(0), static_cast<std::size_t>(rows.stride(0)));
  };
  for (std::size_t tries = 0;; ++tries, position = (position + 1) % order_.size()) {
    const Draw draw = order_.at(epoch, position);
    const std::uint64_t sample_seed = mix_seed(mix_seed(recipe_.seed, draw.pass), draw.index);
    std::string key;
    try {
      const auto [sample, image] = read_sample(dataset_, draw.index);
      key = sample.key + ": ";
      augment(image, recipe_.preprocess, recipe_.augment.at(sample.source), sample_seed,
              row_of(batch.pixels, batch.pixels.data_ptr<float>()));
      if (batch.patches.defined())
        draw_patches(sample_seed, row_of(batch.patches, batch.patches.data_ptr<std::int64_t>()));
      std::vector<TokenIds> texts;
      for (const std::string& caption : draw_captions(sample, epoch, batch_of_epoch, sample_seed))
        texts.push_back(encode(tokenizer_, recipe_.model.text, caption));
      in_a_row_ = 0;
      return texts;
    } catch (const std::exception& error) {  // also when the crop runs out of memory
      if (stop_ || interrupted()) throw;     // an aborted read is not a read failure
      count_read_failure(key + error.what());
      if (tries == order_.size()) fail("none of the samples can be read, the last: {}", error.what());
    }
  }
}

std::pair<Sample, Image> read_sample(const Dataset& dataset, std::size_t index) {
  std::string name = fmt::format("sample {}", index);
  try {
    Sample sample = dataset.get(index);
    name = sample.key;
    Image image = decode_image(std::as_bytes(std::span(sample.image)), sample.key);
    return {std::move(sample), std::move(image)};
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {  // out of memory, or the disk is gone
    fail("{}: {}", name, error.what());
  }
}

at::Tensor tokenise(const ClipTokenizer& tokenizer, const TextTowerConfig& text,
                    const std::vector<std::string>& texts) {
  std::vector<TokenIds> ids;
  for (const std::string& one : texts) ids.push_back(encode(tokenizer, text, one));
  return pad(text, ids);
}

}  // namespace gondola
