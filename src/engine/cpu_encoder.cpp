#include "engine/cpu_encoder.h"

#include <exception>
#include <functional>
#include <vector>

#include "base/cpu.h"
#include "base/error.h"
#include "engine/image_tower.h"
#include "engine/text_transformer.h"
#include "engine/weights.h"
#include "kernels/aligned.h"

namespace gondola {
namespace {

/// Runs body(team, memory, items) on parts of [0, count), with all threads of the pool. Items that divide evenly among
/// the threads are run by single threads, which need not wait; all threads run the rest together.
class Scheduler {
 public:
  using Body = std::function<void(const Team& team, float* memory, Range items)>;
  /// Floats of memory that a team of `threads` needs for `items`.
  using MemorySize = std::function<std::size_t(std::size_t threads, Range items)>;

  explicit Scheduler(ThreadPool& pool) : pool_(pool), memory_(static_cast<std::size_t>(pool.threads())) {}

  void run(std::size_t count, std::size_t items_at_a_time, const MemorySize& size, const Body& body) {
    const std::size_t threads = memory_.size();
    const std::size_t each = count / threads, alone = each * threads;
    const std::size_t parts = threads * ((each + items_at_a_time - 1) / items_at_a_time);
    pool_.parallel_for(parts, [&](std::size_t part, int thread) {
      run_on_one_thread(thread, {alone * part / parts, alone * (part + 1) / parts}, size, body);
    });
    if (alone < count) run_on_team({alone, count}, size, body);
  }

  /// Runs all items on the calling thread, number `thread` of the pool.
  void run_on_one_thread(int thread, Range items, const MemorySize& size, const Body& body) {
    AlignedFloats& memory = memory_[static_cast<std::size_t>(thread)];
    memory.reserve(size(1, items));
    body(Team(), memory.data(), items);
  }

 private:
  void run_on_team(Range items, const MemorySize& size, const Body& body) {
    const std::size_t threads = memory_.size();
    AlignedFloats& memory = memory_.front();
    memory.reserve(size(threads, items));
    Barrier barrier(threads);
    // Each thread takes one rank, since none returns before all are at the barrier.
    pool_.parallel_for(threads, [&](std::size_t rank, int) {
      try {
        body(Team(rank, threads, barrier), memory.data(), items);
      } catch (...) {
        barrier.fail(std::current_exception());
        throw;
      }
    });
  }

  ThreadPool& pool_;
  std::vector<AlignedFloats> memory_;  ///< one per thread, kept between calls
};

class CpuEncoder : public Encoder {
 public:
  CpuEncoder(const ModelConfig& config, TensorMap weights, const CpuOptions& options, ThreadPool& pool)
      : config_(config),
        weights_(std::move(weights)),
        quantized_(is_quantized(weights_)),
        options_(options),
        pool_(pool),
        kernels_(kernels_for(active_isa())),
        scheduler_(pool) {
    config_.validate();
    if (options_.calibration != nullptr && options_.precision != Precision::fp32)
      fail("{}: calibration needs fp32", config_.name);
    check_weights(config_, weights_);
  }

  const ModelConfig& config() const override { return config_; }

  void encode_images(std::span<const float> pixels, std::span<float> embeddings) override {
    const std::size_t images = count_items("pixels", pixels.size(), image_values(), embeddings.size());
    scheduler_.run(images, preferred_batch_size(), memory_of_images(), forward_images(pixels, embeddings));
  }

  std::size_t preferred_batch_size() override { return image_tower().preferred_batch_size(); }

  void encode_images_on_this_thread(int thread, std::span<const float> pixels, std::span<float> embeddings) override {
    const std::size_t images = count_items("pixels", pixels.size(), image_values(), embeddings.size());
    scheduler_.run_on_one_thread(thread, {0, images}, memory_of_images(), forward_images(pixels, embeddings));
  }

  void encode_texts(std::span<const std::int32_t> ids, std::span<float> embeddings) override {
    const std::size_t context = static_cast<std::size_t>(config_.text.context_length);
    const std::size_t texts = count_items("token ids", ids.size(), context, embeddings.size());
    const TextTransformer& tower = text_tower();
    const std::vector<Sequence> plan = tower.plan(ids);
    const auto part_of = [&](Range items) { return std::span(plan).subspan(items.first, items.size()); };
    scheduler_.run(
        texts, texts_at_a_time(plan),
        [&](std::size_t threads, Range items) { return tower.workspace_size(threads, part_of(items)); },
        [&](const Team& team, float* memory, Range items) {
          tower.forward(team, memory, part_of(items), ids.subspan(items.first * context),
                        embeddings.data() + items.first * embed_dim());
        });
  }

 private:
  std::size_t embed_dim() const { return static_cast<std::size_t>(config_.embed_dim); }

  std::size_t count_items(const char* what, std::size_t values, std::size_t values_each, std::size_t results) const {
    const std::size_t items = values / values_each;
    if (items * values_each != values) fail("{} {} are not a multiple of {}", values, what, values_each);
    if (results != items * embed_dim())
      fail("room for {} values of embeddings, expected {} × {}", results, items, embed_dim());
    return items;
  }

  std::size_t image_values() const {
    const auto size = static_cast<std::size_t>(config_.image.image_size);
    return 3 * size * size;
  }

  Scheduler::MemorySize memory_of_images() {
    return [&tower = image_tower()](std::size_t threads, Range items) {
      return tower.workspace_size(threads, items.size());
    };
  }

  Scheduler::Body forward_images(std::span<const float> pixels, std::span<float> embeddings) {
    return [this, pixels, embeddings, &tower = image_tower()](const Team& team, float* memory, Range items) {
      tower.forward(team, memory, pixels.data() + items.first * image_values(), items.size(),
                    embeddings.data() + items.first * embed_dim());
    };
  }

  static std::size_t texts_at_a_time(std::span<const Sequence> plan) {
    std::size_t all_rows = 0;
    for (const Sequence& text : plan) all_rows += text.length;
    return all_rows == 0 ? 1 : std::max<std::size_t>(1, preferred_tokens * plan.size() / all_rows);
  }

  const ImageTower& image_tower() {
    if (!image_) {
      const Weights visual(weights_, "visual.", quantized_);
      image_ = config_.image.architecture == ImageArchitecture::vit
                   ? make_vision_transformer(kernels_, options_, config_, visual, pool_)
                   : make_modified_resnet(kernels_, config_, visual, pool_);
      forget_weights(/*of_image_tower=*/true);
    }
    return *image_;
  }

  const TextTransformer& text_tower() {
    if (!text_) {
      text_ = std::make_unique<TextTransformer>(kernels_, options_, config_, Weights(weights_, "", quantized_), pool_);
      forget_weights(/*of_image_tower=*/false);
    }
    return *text_;
  }

  /// Drops the original weights of a packed tower: they may be as large, where a checkpoint's parts had to be joined.
  void forget_weights(bool of_image_tower) {
    std::erase_if(weights_, [&](const auto& item) { return item.first.starts_with("visual.") == of_image_tower; });
  }

  ModelConfig config_;
  TensorMap weights_;  ///< of the towers not packed yet
  bool quantized_;
  CpuOptions options_;
  ThreadPool& pool_;
  const Kernels& kernels_;
  Scheduler scheduler_;
  std::unique_ptr<ImageTower> image_;
  std::unique_ptr<TextTransformer> text_;
};

}  // namespace

Precision default_precision(const TensorMap& weights) {
  if (is_quantized(weights)) return Precision::int8;
  return kernels_for(active_isa()).native_bf16 ? Precision::bf16 : Precision::fp32;
}

std::unique_ptr<Encoder> make_cpu_encoder(const ModelConfig& config, TensorMap weights, const CpuOptions& options,
                                          ThreadPool& pool) {
  return std::make_unique<CpuEncoder>(config, std::move(weights), options, pool);
}

}  // namespace gondola
