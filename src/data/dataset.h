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

/// Texts that do not change and that samples may share: a class with templates and names has hundreds, and a copy costs
/// a pointer.
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
  int label = -1;          ///< of a class folder set, else -1
  std::size_t source = 0;  ///< which of open_datasets' sources it is from
};

/// A part of a data set, as the shuffling of an epoch sees it (SampleOrder): its samples lie in shards, one after the
/// other, of which a few at a time are at hand.
struct Part {
  std::vector<std::size_t> shards;  ///< the number of samples of each; one where every sample is a file of its own
  std::size_t window = 1;           ///< so many shards are shuffled together
  double weight = 1;                ///< an epoch draws weight × the part's samples
};

/// Samples by index, each read on its own: shuffling and resuming are arithmetic on indices. Thread-safe.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual std::size_t size() const = 0;
  /// What the samples consist of, in their order.
  virtual std::vector<Part> parts() const { return {{{size()}}}; }
  /// Says that samples of these shards, each named by the index of its first sample, are asked for next, in this order.
  virtual void prefetch(const std::vector<std::size_t>& /*shards*/) const {}
  /// Throws Error when the sample cannot be read.
  virtual Sample get(std::size_t index) const = 0;
  /// Every caption of the set, for training a vocabulary: those that samples share (of a class) once. Reads no image.
  virtual void for_each_caption(const std::function<void(std::string_view)>& visit) const = 0;
  /// Class names by label; empty unless classes have names.
  virtual const std::vector<std::string>& class_names() const {
    static const std::vector<std::string> none;
    return none;
  }
};

/// Opens one source by what it is:
///  - `*.tar`, a glob or a brace list of them ("shard-{000..015}.tar"): WebDataset; members of one basename up to
///    the first dot form a sample, one that ends as an image does (base/file.h) the image, .txt the caption, .json its
///    "caption" or "text";
///  - the same behind "http://…", "https://…" or "s3://BUCKET/…", with braces: shards are fetched ahead of their use,
///    and the last 32 kept in the cache (data/remote_files.h). A sizes.json beside shards, here or there, as
///    open_clip's, saves the opening's pass over all of them that counts their samples;
///  - `*.csv` / `*.tsv` with the columns image and caption: one row a pair, rows of the same image are its captions; a
///    relative path resolves against the file's folder, then its `images/`;
///  - `*.parquet` with the columns image (or image_path) and caption (or text, each a string or a list of strings);
///    image holds paths, as in a CSV, or encoded files, or Hugging Face's structs with `bytes`: then a row is a sample;
///  - a folder of class folders: DIR/CLASS/**/image; `DIR/classes.tsv` (folder, then names, tab-separated) names the
///    classes, else the folder's name with '_' as spaces does. Its captions are the templates, each with "{}" replaced
///    by one of the class's names.
/// Throws Error that names the source.
std::unique_ptr<Dataset> open_dataset(const std::string& source,
                                      const std::vector<std::string>& templates = {default_template});

/// A source of a mixture: an epoch draws weight × its samples (SampleOrder).
struct Source {
  std::string name;
  double weight = 1;
};

/// Several sources one after the other.
std::unique_ptr<Dataset> open_datasets(const std::vector<Source>& sources,
                                       const std::vector<std::string>& templates = {default_template});

}  // namespace gondola
