#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "data/sample_order.h"
#include "image/image.h"
#include "text/clip_tokenizer.h"
#include "train/recipe.h"

namespace gondola {

/// A caption as the text tower sees it: start, text, end.
using TokenIds = std::vector<std::int32_t>;

/// One rank's rows of a global batch: n images and the m distinct texts among theirs.
struct Batch {
  at::Tensor pixels;        ///< n × 3 × size × size, fp32
  at::Tensor ids;           ///< m × tokens, int64, cut to the longest of the batch
  at::Tensor caption;       ///< n × captions_per_image, int64: each image's rows of ids
  at::Tensor text_keys;     ///< m, int64: a hash of each text, by which ranks recognise equal ones
  at::Tensor patches = {};  ///< n × kept, int64, ascending: what the image tower sees; undefined without patch_dropout
};

/// Reads a sample and decodes its image. Throws Error whatever goes wrong.
std::pair<Sample, Image> read_sample(const Dataset& dataset, std::size_t index);

/// The texts' ids, int64: n × the longest text's length, since a causal tower, as all that are trained, does not see
/// what follows the end token. Texts longer than the context are cut.
at::Tensor tokenise(const ClipTokenizer& tokenizer, const TextTowerConfig& text, const std::vector<std::string>& texts);

/// Decodes, augments and tokenises batches ahead of the training step. Batches are loaded one after the other, each by
/// several threads: two if the towers run on the CPU, train.threads (default: all) if on a GPU. Global batch `step`
/// holds samples [b·n, (b+1)·n) of the order of epoch e, where e and b are quotient and remainder of step / batches per
/// epoch; an epoch's last incomplete batch is left out. Rank r of w loads its rows [r·n/w, (r+1)·n/w). Every random
/// draw depends only on the recipe's seed, the epoch and the sample or the batch, not on the threads and ranks. A
/// sample that cannot be read is reported on stderr once and replaced by the next in order. Too many such failures
/// throw Error; those of one unavailable shard count as one.
class Loader {
 public:
  Loader(const Dataset& dataset, const ClipTokenizer& tokenizer, const Recipe& recipe, std::int64_t first_step,
         std::int64_t last_step, int rank = 0, int ranks = 1);
  ~Loader();

  /// The next batch of [first_step, last_step); none if interrupted while waiting for it.
  std::optional<Batch> next();

  /// Throws Error if a batch cannot be shared equally among `ranks` ranks.
  static void check_ranks(const Recipe& recipe, int ranks);

  static std::int64_t batches_per_epoch(const Dataset& dataset, const Recipe& recipe);

 private:
  void work();
  Batch load(std::int64_t step);
  std::vector<TokenIds> load_sample(Batch& batch, std::int64_t row, std::uint64_t epoch, std::int64_t batch_of_epoch,
                                    std::size_t position);
  std::vector<std::string> draw_captions(const Sample& sample, std::uint64_t epoch, std::int64_t batch,
                                         std::uint64_t sample_seed) const;
  void draw_patches(std::uint64_t sample_seed, std::span<std::int64_t> kept) const;
  void count_read_failure(const std::string& message);

  const Dataset& dataset_;
  const ClipTokenizer& tokenizer_;
  const Recipe& recipe_;
  const SampleOrder order_;
  std::int64_t next_to_load_, next_to_give_, end_;
  int rank_, ranks_;
  std::map<std::int64_t, Batch> ready_;
  std::set<std::uint64_t> failures_;        ///< hashes of the messages about unreadable samples
  std::atomic<std::int64_t> in_a_row_ = 0;  ///< unreadable samples since the last readable one
  std::atomic<bool> stop_ = false;
  std::exception_ptr error_;
  std::mutex mutex_;
  std::condition_variable changed_;
  ThreadPool pool_;
  std::thread thread_;
};

}  // namespace gondola
