#include "data/dataset.h"

#include <algorithm>
#include <utility>

#include "base/ascii.h"
#include "base/error.h"
#include "base/file.h"
#include "data/download.h"
#include "data/ranges.h"
#include "data/sources.h"

namespace gondola {
namespace {

/// Anything longer, such as a page or a log, is not a caption: it would be cut to the context anyway, and repairing it
/// (text/fix_text.h) goes over it up to 16 times.
constexpr std::size_t max_caption_bytes = 1 << 16;

bool is_blank(std::string_view caption) {
  return caption.find_first_not_of(" \t\r\n") == caption.npos;
}

std::vector<std::string> without_blank(const Sample& sample) {
  std::vector<std::string> captions(sample.captions.begin(), sample.captions.end());
  std::erase_if(captions, is_blank);
  if (captions.empty()) fail("{}: has no caption", sample.key);
  return captions;
}

/// Concatenates data sets. Equal class lists share labels; those of a new list follow the ones before it.
class ConcatenatedDataset : public Dataset {
 public:
  ConcatenatedDataset(std::vector<std::unique_ptr<Dataset>> sets, std::vector<double> weights = {})
      : sets_(std::move(sets)), weights_(std::move(weights)) {
    for (const auto& set : sets_) {
      samples_.add(set->size());
      label_offsets_.push_back(offset_of_classes(set->class_names()));
    }
  }

  std::size_t size() const override { return samples_.end(); }

  std::vector<Part> parts() const override {
    std::vector<Part> all;
    for (std::size_t i = 0; i < sets_.size(); ++i) {
      for (Part& part : sets_[i]->parts()) {
        part.weight *= weights_.empty() ? 1 : weights_[i];
        all.push_back(std::move(part));
      }
    }
    return all;
  }

  void prefetch(const std::vector<std::size_t>& shards) const override {
    std::vector<std::vector<std::size_t>> of_set(sets_.size());
    for (std::size_t index : shards) {
      const std::size_t set = samples_.range_containing(index);
      of_set[set].push_back(index - samples_.begin_of(set));
    }
    for (std::size_t set = 0; set < sets_.size(); ++set)
      if (!of_set[set].empty()) sets_[set]->prefetch(of_set[set]);
  }

  Sample get(std::size_t index) const override {
    const std::size_t set = samples_.range_containing(index);
    if (set == sets_.size()) fail("sample {}: the data set has {}", index, size());
    Sample sample = sets_[set]->get(index - samples_.begin_of(set));
    if (std::ranges::any_of(sample.captions, is_blank)) sample.captions = without_blank(sample);
    for (const std::string& caption : sample.captions)
      if (caption.size() > max_caption_bytes)
        fail("{}: a caption of {} bytes, more than {}", sample.key, caption.size(), max_caption_bytes);
    if (sample.label >= 0) sample.label += label_offsets_[set];
    sample.source = set;
    return sample;
  }

  void for_each_caption(const std::function<void(std::string_view)>& visit) const override {
    for (const auto& set : sets_)
      set->for_each_caption([&](std::string_view caption) {
        if (caption.size() <= max_caption_bytes && !is_blank(caption)) visit(caption);
      });
  }

  const std::vector<std::string>& class_names() const override { return class_names_; }

 private:
  int offset_of_classes(const std::vector<std::string>& names) {
    for (std::size_t earlier = 0; earlier < label_offsets_.size(); ++earlier)
      if (sets_[earlier]->class_names() == names) return label_offsets_[earlier];
    const int offset = static_cast<int>(class_names_.size());
    class_names_.insert(class_names_.end(), names.begin(), names.end());
    return offset;
  }

  std::vector<std::unique_ptr<Dataset>> sets_;
  std::vector<double> weights_;  ///< empty if all are 1
  Ranges samples_;               ///< of each set
  std::vector<int> label_offsets_;
  std::vector<std::string> class_names_;
};

std::unique_ptr<Dataset> open_source(const std::string& source, const std::vector<std::string>& templates) {
  if (is_url(source)) return open_remote_webdataset(expand_urls(source));
  if (path_exists(source) && std::filesystem::is_directory(source)) return open_class_folders(source, templates);
  const std::vector<std::filesystem::path> files = expand_pattern(source);
  const std::string extension = lower_ascii(files.front().extension().string());
  for (const std::filesystem::path& file : files)
    if (lower_ascii(file.extension().string()) != extension)
      fail("{}: matches files of several kinds: {} and {}", source, files.front().string(), file.string());
  if (extension == ".tar") return open_webdataset(files);
  if (extension == ".parquet") return open_parquet(files);
  std::vector<std::unique_ptr<Dataset>> parts;
  for (const std::filesystem::path& file : files) {
    if (extension == ".csv" || extension == ".tsv")
      parts.push_back(open_csv(file, extension == ".csv" ? ',' : '\t'));
    else
      fail("{}: expected .tar, .csv, .tsv or .parquet files or a folder of class folders", source);
  }
  if (parts.size() == 1) return std::move(parts.front());
  return std::make_unique<ConcatenatedDataset>(std::move(parts));
}

}  // namespace

std::filesystem::path resolve_image(const std::filesystem::path& table, const std::string& image) {
  const auto beside = table.parent_path() / image, in_images = table.parent_path() / "images" / image;
  if (path_exists(beside)) return beside;
  if (path_exists(in_images)) return in_images;
  if (std::filesystem::path(image).is_absolute()) fail("{}: there is no image {}", table.string(), image);
  fail("{}: image {} not found, neither as {} nor as {}", table.string(), image, beside.string(), in_images.string());
}

std::unique_ptr<Dataset> open_dataset(const std::string& source, const std::vector<std::string>& templates) {
  return open_datasets({{source}}, templates);
}

std::unique_ptr<Dataset> open_datasets(const std::vector<Source>& sources, const std::vector<std::string>& templates) {
  std::vector<std::unique_ptr<Dataset>> parts;
  std::vector<double> weights;
  for (const Source& source : sources) {
    parts.push_back(open_source(source.name, templates));
    weights.push_back(source.weight);
  }
  return std::make_unique<ConcatenatedDataset>(std::move(parts), std::move(weights));
}

}  // namespace gondola
