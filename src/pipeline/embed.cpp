#include "pipeline/embed.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "base/error.h"

namespace gondola {
namespace {

using Load = std::function<Image(std::size_t index)>;
using Sink = std::function<void(const ImageEmbedding&)>;

class ImageStream {
 public:
  ImageStream(const ImageStages& stages, std::size_t count, const Load& load, const Sink& sink)
      : stages_(stages),
        load_(load),
        sink_(sink),
        image_values_(3 * static_cast<std::size_t>(stages.preprocess.size * stages.preprocess.size)),
        dim_(static_cast<std::size_t>(stages.encoder.config().embed_dim)),
        chunked_count_(count / threads() * threads()),
        chunk_size_(std::min(stages.encoder.preferred_batch_size(), window)),
        chunks_(threads() * ((chunked_count_ / threads() + chunk_size_ - 1) / chunk_size_)),
        outcomes_(std::min(chunked_count_, window)),
        remainder_(count - chunked_count_) {}

  void run() {
    stages_.pool.parallel_for(threads(), [this](std::size_t, int thread) {
      try {
        work(thread);
      } catch (...) {
        const std::lock_guard lock(mutex_);
        stopped_ = true;
        changed_.notify_all();
        throw;
      }
    });
    std::unique_lock lock(mutex_);
    deliver(lock);
    lock.unlock();
    encode_remainder();
  }

 private:
  /// How many images may be begun ahead of the first that is not delivered yet. Their embeddings take a few megabytes,
  /// and while one image takes very long, the other threads have hundreds to work on.
  static constexpr std::size_t window = 1024;

  /// The result of an image that one thread takes through all stages.
  struct Outcome {
    bool done = false;
    std::vector<float> values;
    std::string error;
  };

  /// One of the last images, which all threads encode together.
  struct Loaded {
    std::vector<float> pixels;
    std::string error;
  };

  struct Chunk {
    std::size_t first = 0, last = 0;
  };

  std::size_t threads() const { return static_cast<std::size_t>(stages_.pool.threads()); }
  Outcome& outcome(std::size_t index) { return outcomes_[index % outcomes_.size()]; }

  /// Has chunk_size_ images or slightly fewer: every thread takes the same number of chunks, and of images.
  Chunk chunk(std::size_t number) const {
    if (number >= chunks_) return {chunked_count_ + number - chunks_, chunked_count_ + number - chunks_ + 1};
    return {chunked_count_ * number / chunks_, chunked_count_ * (number + 1) / chunks_};
  }

  void work(int thread) {
    std::vector<float> pixels, embeddings;
    while (const std::optional<Chunk> taken = take(thread)) {
      if (taken->first >= chunked_count_) {
        Loaded& loaded = remainder_[taken->first - chunked_count_];
        loaded.pixels.resize(image_values_);
        loaded.error = load(taken->first, loaded.pixels);
        continue;
      }
      pixels.resize(chunk_size_ * image_values_);
      embeddings.resize(chunk_size_ * dim_);
      std::size_t loaded = 0;
      for (std::size_t index = taken->first; index < taken->last && !stopped_; ++index) {
        Outcome& result = outcome(index);
        result.error = load(index, std::span(pixels).subspan(loaded * image_values_, image_values_));
        if (result.error.empty()) ++loaded;
      }
      if (stopped_) return;
      const auto encoded = std::span(embeddings).first(loaded * dim_);
      if (loaded > 0)
        stages_.encoder.encode_images_on_this_thread(thread, std::span(pixels).first(loaded * image_values_), encoded);
      require_numbers(encoded);
      std::unique_lock lock(mutex_);
      publish(*taken, encoded);
      if (thread == 0) deliver(lock);
    }
  }

  /// The next images to work on, once they are in the window; nothing at the end. Whenever thread 0 has to wait, it
  /// delivers what it can, since the others may be waiting for that.
  std::optional<Chunk> take(int thread) {
    std::unique_lock lock(mutex_);
    const auto wait = [&](const auto& condition) {
      while (thread == 0 && !stopped_ && !condition()) {
        changed_.wait(lock, [this] { return stopped_ || outcome(delivered_).done; });
        deliver(lock);
      }
      changed_.wait(lock, [&] { return stopped_ || condition(); });
    };
    if (next_ == chunks_ + remainder_.size()) {
      // A thread that returned now might get thread 0's turn in the pool's loop, and nobody would deliver.
      wait([this] { return delivered_ == chunked_count_; });
      return std::nullopt;
    }
    const Chunk taken = chunk(next_++);
    wait([&] { return taken.first >= chunked_count_ || taken.last <= delivered_ + window; });
    if (stopped_) return std::nullopt;
    return taken;
  }

  /// Decodes and preprocesses an image. Returns why that failed, or an empty string.
  std::string load(std::size_t index, std::span<float> pixels) const {
    try {
      preprocess(load_(index), stages_.preprocess, pixels);
    } catch (const std::exception& error) {
      return error.what();
    }
    return {};
  }

  /// Marks a chunk as done and keeps its embeddings. Needs the lock.
  void publish(Chunk done, std::span<const float> embeddings) {
    for (std::size_t index = done.first; index < done.last; ++index) {
      Outcome& result = outcome(index);
      if (result.error.empty()) {
        result.values.assign(embeddings.begin(), embeddings.begin() + static_cast<std::ptrdiff_t>(dim_));
        embeddings = embeddings.subspan(dim_);
      }
      result.done = true;
    }
    changed_.notify_all();
  }

  /// Passes to the sink everything up to the first image that is not done. Only on the calling thread.
  void deliver(std::unique_lock<std::mutex>& lock) {
    while (!stopped_ && delivered_ < chunked_count_ && outcome(delivered_).done) {
      lock.unlock();  // nobody else touches the outcome of an image that is done and not delivered
      Outcome& result = outcome(delivered_);
      sink_({delivered_, result.error.empty() ? std::span<const float>(result.values) : std::span<const float>(),
             result.error});
      lock.lock();
      result.done = false;
      ++delivered_;
      changed_.notify_all();
    }
  }

  void encode_remainder() {
    std::vector<float> pixels;
    for (const Loaded& image : remainder_)
      if (image.error.empty()) pixels.insert(pixels.end(), image.pixels.begin(), image.pixels.end());
    std::vector<float> embeddings(pixels.size() / image_values_ * dim_);
    if (!embeddings.empty()) stages_.encoder.encode_images(pixels, embeddings);
    require_numbers(embeddings);
    std::span<const float> remaining = embeddings;
    for (std::size_t i = 0; i < remainder_.size(); ++i) {
      const std::size_t values = remainder_[i].error.empty() ? dim_ : 0;
      sink_({chunked_count_ + i, remaining.first(values), remainder_[i].error});
      remaining = remaining.subspan(values);
    }
  }

  const ImageStages& stages_;
  const Load& load_;
  const Sink& sink_;
  const std::size_t image_values_, dim_;
  const std::size_t chunked_count_;  ///< how many images are taken through all stages by one thread each
  const std::size_t chunk_size_, chunks_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Outcome> outcomes_;  ///< ring buffer of the images in the window
  std::vector<Loaded> remainder_;
  std::size_t next_ = 0;       ///< next chunk; the images of remainder_ come last, one by one
  std::size_t delivered_ = 0;  ///< images delivered so far; changed by the calling thread only
  std::atomic<bool> stopped_ = false;
};

}  // namespace

void require_numbers(std::span<const float> embeddings) {
  if (!std::ranges::all_of(embeddings, [](float value) { return std::isfinite(value); }))
    fail("embeddings are infinite or not numbers: the weights are damaged, or too large for this precision");
}

void embed_images(const ImageStages& stages, std::size_t count, const Load& load, const Sink& sink) {
  ImageStream(stages, count, load, sink).run();
}

std::vector<float> embed_texts(const TextStages& stages, std::span<const std::string> texts) {
  std::unordered_map<std::string_view, std::size_t> row_of;
  std::vector<std::string_view> distinct;
  for (const std::string& text : texts)
    if (row_of.emplace(text, distinct.size()).second) distinct.push_back(text);

  constexpr std::size_t texts_per_batch = 512;  // for all threads
  const TextTowerConfig& config = stages.encoder.config().text;
  const auto dim = static_cast<std::size_t>(stages.encoder.config().embed_dim);
  const auto context = static_cast<std::size_t>(config.context_length);
  std::vector<float> rows(distinct.size() * dim);
  std::vector<std::int32_t> ids;
  for (std::size_t first = 0; first < distinct.size(); first += texts_per_batch) {
    const std::size_t count = std::min(texts_per_batch, distinct.size() - first);
    ids.resize(count * context);
    stages.pool.parallel_for(count, [&](std::size_t i, int) {
      std::ranges::copy(
          stages.tokenizer.encode_padded(distinct[first + i], config.context_length, config.pad_id, stages.overflow),
          ids.begin() + static_cast<std::ptrdiff_t>(i * context));
    });
    stages.encoder.encode_texts(ids, std::span(rows).subspan(first * dim, count * dim));
  }
  require_numbers(rows);
  if (distinct.size() == texts.size()) return rows;

  std::vector<float> embeddings;
  embeddings.reserve(texts.size() * dim);
  for (const std::string& text : texts) {
    const auto row = std::span(rows).subspan(row_of.at(text) * dim, dim);
    embeddings.insert(embeddings.end(), row.begin(), row.end());
  }
  return embeddings;
}

}  // namespace gondola
