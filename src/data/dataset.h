#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "metrics/metrics.h"

namespace gondola {

/// Immutable texts that samples may share: a class with templates and names has hundreds, and a copy costs a pointer.
class Captions {
 public:
  using value_type = std::string;
  using const_reference = const std::string&;
  using iterator = const std::string*;
  using const_iterator = iterator;

  Captions() : Captions(std::vector<std::string>()) {}
  Captions(std::vector<std::string> texts)
      : texts_(std::make_shared<const std::vector<std::string>>(std::move(texts))) {}

  std::size_t size() const { return texts_->size(); }
  bool empty() const { return texts_->empty(); }
  const std::string& operator[](std::size_t index) const { return (*texts_)[index]; }
  iterator begin() const { return texts_->data(); }
  iterator end() const { return begin() + size(); }
  bool operator==(const Captions& other) const { return *texts_ == *other.texts_; }

 private:
  std::shared_ptr<const std::vector<std::string>> texts_;
};

/// One image with the texts that describe it.
struct Sample {
  std::string key;         ///< names the sample in messages: a path, or "shard.tar:key"
  std::string image;       ///< the encoded file (JPEG, PNG …)
  Captions captions;       ///< at least one
  int label = -1;          ///< class of a sample from class folders, else -1
  std::size_t source = 0;  ///< index of its source in open_datasets
};

/// A part of a data set, as SampleOrder shuffles it: its samples lie in consecutive shards, of which only a few at a
/// time are at hand.
struct Part {
  std::vector<std::size_t> shards;  ///< number of samples in each; a single shard if every sample is its own file
  std::size_t window = 1;           ///< how many shards are shuffled together
  double weight = 1;                ///< an epoch draws weight × the part's samples
};

/// Samples by index, each read independently: shuffling and resuming are arithmetic on indices. Thread-safe.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual std::size_t size() const = 0;
  /// The parts that the samples consist of, in order.
  virtual std::vector<Part> parts() const { return {{{size()}}}; }
  /// Hints that samples of these shards, each named by the index of its first sample, are needed next, in this order.
  virtual void prefetch(const std::vector<std::size_t>& /*shards*/) const {}
  /// Throws Error when the sample cannot be read.
  virtual Sample get(std::size_t index) const = 0;
  /// Visits every caption, to train a vocabulary; those that samples of a class share, once. Reads no image.
  virtual void for_each_caption(const std::function<void(std::string_view)>& visit) const = 0;
  /// Class names by label; empty unless classes have names.
  virtual const std::vector<std::string>& class_names() const {
    static const std::vector<std::string> none;
    return none;
  }
};

/// Opens one source by what it is:
///  - `*.tar`, a glob or a brace list of them ("shard-{000..015}.tar"): WebDataset; members with the same name up to
///    the first dot form a sample: the one with an image's extension (base/file.h) is the image, .txt the caption, and
///    .json holds it as "caption" or "text";
///  - the same behind "http://…", "https://…" or "s3://BUCKET/…", with braces: shards are fetched ahead of their use,
///    and the last 32 are kept in the cache (data/remote_files.h). A sizes.json beside the shards, local or remote, in
///    open_clip's format saves the pass that counts all samples on opening;
///  - `*.csv` / `*.tsv` with the columns image and caption: each row is a pair, rows of one image are its captions; a
///    relative path is looked up in the file's folder, then in `images/` there;
///  - `*.parquet` with the columns image (or image_path) and caption (or text), a string or a list of strings; image
///    holds paths, as in a CSV, or encoded files or Hugging Face's structs with `bytes`, where each row is a sample;
///  - a folder of class folders: DIR/CLASS/**/image; `DIR/classes.tsv` (folder, then names, tab-separated) names the
///    classes, otherwise the folder's name does, with '_' as spaces. The captions of a class are the templates, with
///    "{}" replaced by each of its names. Without classes.tsv, captions beside an image (its .txt, a metadata.csv or
///    .jsonl) are an error: such folders are shards or splits rather than classes.
/// Throws Error that names the source.
std::unique_ptr<Dataset> open_dataset(const std::string& source,
                                      const std::vector<std::string>& templates = {default_template});

/// A source of a mixture: an epoch draws weight × its samples (SampleOrder).
struct Source {
  std::string name;
  double weight = 1;
};

/// Opens several sources as one data set, in this order.
std::unique_ptr<Dataset> open_datasets(const std::vector<Source>& sources,
                                       const std::vector<std::string>& templates = {default_template});

}  // namespace gondola
