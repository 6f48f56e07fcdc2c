#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "data/sources.h"
#include "data/tar.h"

namespace gondola {
namespace {

constexpr std::uint64_t max_text_bytes = 16 << 20;  // of a caption or a JSON member

/// A member's name up to the first dot of its last part, and what follows it in lower case: "a/b.c/d.e.JPG" gives
/// ("a/b.c/d", ".e.jpg") (webdataset's base_plus_ext).
struct SplitName {
  std::string key, extension;
};

std::optional<SplitName> split_name(const std::string& name) {
  const std::size_t slash = name.rfind('/');
  const std::size_t file = slash == std::string::npos ? 0 : slash + 1;
  const std::size_t dot = name.find('.', file);
  if (dot == std::string::npos || dot == file) return std::nullopt;
  return SplitName{name.substr(0, dot), lower_ascii(name.substr(dot))};
}

/// Consecutive members of one key.
struct Group {
  std::string key;
  std::uint64_t begin = 0, end = 0;
  std::optional<TarMember> image, text, json, label;
};

/// Walks the groups of a shard from `offset` to `end`.
class GroupReader {
 public:
  explicit GroupReader(const RandomAccessFile& file, std::uint64_t offset = 0) : tar_(file, offset) { advance(); }

  bool next(Group& group) {
    if (!pending_) return false;
    group = {};
    group.key = pending_->key;
    group.begin = member_.begin;
    for (; pending_ && pending_->key == group.key; advance()) {
      std::optional<TarMember>* slot = slot_of(group, pending_->extension);
      if (slot != nullptr && !*slot) *slot = member_;
      group.end = member_.end;
    }
    return true;
  }

 private:
  void advance() {
    pending_.reset();
    while (!pending_ && tar_.next(member_)) pending_ = split_name(member_.name);
  }

  static std::optional<TarMember>* slot_of(Group& group, const std::string& extension) {
    if (is_image_extension(extension)) return &group.image;
    if (extension == ".txt") return &group.text;
    if (extension == ".json") return &group.json;
    if (extension == ".cls") return &group.label;
    return nullptr;
  }

  TarReader tar_;
  TarMember member_;
  std::optional<SplitName> pending_;
};

std::string read_member(const RandomAccessFile& file, const TarMember& member, std::uint64_t limit) {
  if (member.size > limit)
    fail("{}: {} has {} bytes, more than {}", file.path().string(), member.name, member.size, limit);
  return file.read(member.data, member.size);
}

/// The "caption" or the "text" of a sample's JSON: a string or a list of strings.
std::vector<std::string> json_captions(std::string_view text, const std::string& origin) {
  const Json json = parse_json(text, origin);
  for (const char* field : {"caption", "text"}) {
    if (!json.is_object() || !json.contains(field)) continue;
    const Json& value = json.at(field);
    if (value.is_string()) return {value.get<std::string>()};
    const auto is_string = [](const Json& item) { return item.is_string(); };
    if (value.is_array() && !value.empty() && std::all_of(value.begin(), value.end(), is_string))
      return value.get<std::vector<std::string>>();
    fail("{}: \"{}\" is not a string or a list of strings", origin, field);
  }
  fail("{}: expected \"caption\" or \"text\"", origin);
}

std::vector<std::string> read_captions(const RandomAccessFile& file, const Group& group) {
  if (group.text) return {read_member(file, *group.text, max_text_bytes)};
  return json_captions(read_member(file, *group.json, max_text_bytes),
                       fmt::format("{}:{}", file.path().string(), group.json->name));
}

int read_label(const RandomAccessFile& file, const TarMember& member) {
  constexpr std::uint64_t max_digits = 32;
  std::string digits = read_member(file, member, max_digits);
  while (!digits.empty() && (digits.back() == '\n' || digits.back() == '\r' || digits.back() == ' ')) digits.pop_back();
  int label = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), label);
  if (error != std::errc() || end != digits.data() + digits.size() || label < 0)
    fail("{}: {} holds \"{}\", expected a class number", file.path().string(), member.name, digits);
  return label;
}

/// The shards are walked once; of each sample its place is kept, and its members are found again from there.
class WebDataset : public Dataset {
 public:
  explicit WebDataset(std::vector<std::filesystem::path> shards) : shards_(std::move(shards)) {
    std::size_t groups = 0;
    for (std::uint32_t shard = 0; shard < shards_.size(); ++shard) {
      const RandomAccessFile file(shards_[shard]);
      GroupReader reader(file);
      for (Group group; reader.next(group); ++groups)
        if (group.image && (group.text || group.json)) samples_.push_back({group.begin, shard});
    }
    if (samples_.empty())
      fail("{}: none of the {} samples in {} files has both an image (.jpg, .png, .webp) and a caption (.txt, .json)",
           shards_.front().string(), groups, shards_.size());
  }

  std::size_t size() const override { return samples_.size(); }

  std::vector<Part> parts() const override {
    constexpr std::size_t window = 8;  // shards: of 10,000 samples each, more than the buffers that loaders shuffle in
    Part part{std::vector<std::size_t>(shards_.size()), window};
    for (const Place& place : samples_) ++part.shards[place.shard];
    return {part};
  }

  Sample get(std::size_t index) const override {
    if (index >= size()) fail("sample {}: the data set has {}", index, size());
    const RandomAccessFile file(shards_[samples_[index].shard]);
    const Group group = find(file, index);
    Sample sample;
    sample.key = fmt::format("{}:{}", file.path().string(), group.key);
    sample.image = read_member(file, *group.image, max_image_bytes);
    sample.captions = read_captions(file, group);
    if (group.label) sample.label = read_label(file, *group.label);
    return sample;
  }

  void for_each_caption(const std::function<void(std::string_view)>& visit) const override {
    std::optional<RandomAccessFile> file;
    for (std::size_t index = 0; index < size(); ++index) {
      const std::filesystem::path& path = shards_[samples_[index].shard];
      if (!file || file->path() != path) file.emplace(path);
      for (const std::string& caption : read_captions(*file, find(*file, index))) visit(caption);
    }
  }

  const std::vector<std::string>& class_names() const override { return no_classes_; }

 private:
  struct Place {
    std::uint64_t begin;
    std::uint32_t shard;
  };

  /// Reads the headers again; the file may have changed since it was indexed.
  Group find(const RandomAccessFile& file, std::size_t index) const {
    GroupReader reader(file, samples_[index].begin);
    Group group;
    if (!reader.next(group) || !group.image || !(group.text || group.json))
      fail("{}: has changed: no sample at byte {}", file.path().string(), samples_[index].begin);
    return group;
  }

  std::vector<std::filesystem::path> shards_;
  std::vector<Place> samples_;
  std::vector<std::string> no_classes_;
};

}  // namespace

std::unique_ptr<Dataset> open_webdataset(const std::vector<std::filesystem::path>& shards) {
  return std::make_unique<WebDataset>(shards);
}

}  // namespace gondola
