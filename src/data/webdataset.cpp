#include <algorithm>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "base/ascii.h"
#include "base/environment.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/streams.h"
#include "base/utf8.h"
#include "data/download.h"
#include "data/ranges.h"
#include "data/remote_files.h"
#include "data/sources.h"
#include "data/tar.h"

namespace gondola {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t max_text_bytes = 16 << 20;  // of a caption or a JSON member

/// A member's name up to the first dot of its last part, and the rest in lower case: "a/b.c/d.e.JPG" gives ("a/b.c/d",
/// ".e.jpg") (webdataset's base_plus_ext).
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

/// Consecutive members with the same key.
struct Group {
  std::string key;
  std::uint64_t begin = 0;
  std::optional<TarMember> image, text, json;
};

/// Walks the groups of a shard, starting at `offset`. Damage is thrown once, after the groups before it, and ends the
/// walk.
class GroupReader {
 public:
  explicit GroupReader(const RandomAccessFile& file, std::uint64_t offset = 0) : tar_(file, offset) { advance(); }

  bool next(Group& group) {
    if (!pending_ && damage_) std::rethrow_exception(std::exchange(damage_, nullptr));
    if (!pending_) return false;
    group = {};
    group.key = pending_->key;
    group.begin = member_.begin;
    for (; pending_ && pending_->key == group.key; advance()) {
      std::optional<TarMember>* slot = slot_of(group, pending_->extension);
      if (slot != nullptr && !*slot) *slot = member_;
    }
    return true;
  }

 private:
  void advance() {
    pending_.reset();
    try {
      while (!pending_ && tar_.next(member_)) pending_ = split_name(member_.name);
    } catch (const Error&) {
      damage_ = std::current_exception();
    }
  }

  static std::optional<TarMember>* slot_of(Group& group, const std::string& extension) {
    if (is_image_extension(extension)) return &group.image;
    if (extension == ".txt") return &group.text;
    if (extension == ".json") return &group.json;
    return nullptr;
  }

  TarReader tar_;
  TarMember member_;
  std::optional<SplitName> pending_;
  std::exception_ptr damage_;
};

std::string read_member(const RandomAccessFile& file, const TarMember& member, std::uint64_t limit) {
  if (member.size > limit) fail("{}: {} has {} bytes, more than {}", file.name(), member.name, member.size, limit);
  return file.read(member.data, member.size);
}

/// The "caption" or "text" of a sample's JSON: a string or a list of strings.
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
  if (group.text) {
    std::string text = read_member(file, *group.text, max_text_bytes);
    if (!is_valid_utf8(text)) fail("{}:{}: is not UTF-8", file.name(), group.text->name);
    return {std::move(text)};
  }
  return json_captions(read_member(file, *group.json, max_text_bytes),
                       fmt::format("{}:{}", file.name(), group.json->name));
}

/// Where the samples of a shard begin.
using SampleOffsets = std::vector<std::uint64_t>;

/// Keeps where the samples of the shards in use begin, and finds their members again from there. Shards are walked at
/// the start to count their samples, unless a sizes.json beside them (or, for remote ones, what an earlier start
/// counted) gives the numbers: then a shard is walked when it is first needed. Damaged shards, which may be replaced,
/// are counted again at every start.
class WebDataset : public Dataset {
 public:
  /// With `remote`, shards are URLs, and `counts_file` is the file that stores their sizes.
  WebDataset(std::vector<std::string> shards, std::unique_ptr<RemoteFiles> remote, fs::path counts_file)
      : shards_(std::move(shards)), remote_(std::move(remote)), counts_file_(std::move(counts_file)) {
    const std::vector<std::size_t> given = given_sizes();
    Counts counts(given.begin(), given.end());
    if (given.empty()) count_source_ = remote_ ? counts_file_.string() : "the count at the start";
    if (given.empty() && remote_) counts = read_counts();
    counts.resize(shards_.size());
    constexpr std::size_t shards_between_saves = 16;  // fewer than are kept: an interrupted start fetches none twice
    std::size_t counted = 0, groups = 0;
    std::optional<Error> damage;
    Progress progress("counting samples (a sizes.json avoids this)", shards_.size(), "shards");
    for (std::size_t shard = 0; shard < shards_.size(); ++shard) {
      if (counts[shard]) {
        samples_.add(*counts[shard]);
        continue;
      }
      if (remote_) prefetch_from(shard, counts);
      std::optional<Error> found;
      const std::size_t samples = walk(*open(shard), groups, found).size();
      samples_.add(samples);
      if (found) {
        print_error("{}; the {} samples before that are used", found->what(), samples);
        damage = found;
      } else {
        counts[shard] = samples;
      }
      // Zeros alone are not saved: such a set is refused, and may be replaced by a right one at the same URLs.
      if (++counted % shards_between_saves == 0 && remote_ && size() > 0) write_counts(counts);
      progress.update(shard + 1);
    }
    if (size() == 0 && damage) throw *damage;
    if (size() == 0)
      fail("{}: none of the {} samples in {} files has both an image (.jpg, .png …) and a caption (.txt, .json)",
           redact_url(shards_.front()), groups, shards_.size());
    if (remote_ && counted > 0) write_counts(counts);
  }

  std::size_t size() const override { return samples_.end(); }

  std::vector<Part> parts() const override {
    constexpr std::size_t window = 8;  // shards: with 10,000 samples each, more than loaders' shuffle buffers hold
    Part part{{}, window};
    for (std::size_t shard = 0; shard < shards_.size(); ++shard) part.shards.push_back(samples_.size_of(shard));
    return {part};
  }

  void prefetch(const std::vector<std::size_t>& shards) const override {
    if (!remote_) return;
    std::vector<std::string> urls;
    for (const std::size_t index : shards) urls.push_back(shards_[samples_.range_containing(index)]);
    remote_->prefetch(urls);
  }

  Sample get(std::size_t index) const override {
    const std::size_t shard = samples_.range_containing(index);
    const auto file = open(shard);
    const Group group = find(*file, shard, index - samples_.begin_of(shard));
    Sample sample;
    sample.key = fmt::format("{}:{}", redact_url(shards_[shard]), group.key);
    sample.image = read_member(*file, *group.image, max_image_bytes);
    sample.captions = read_captions(*file, group);
    return sample;
  }

  void for_each_caption(const std::function<void(std::string_view)>& visit) const override {
    for (std::size_t shard = 0; shard < shards_.size(); ++shard) {
      if (remote_) prefetch_from(shard);
      const auto file = open(shard);
      GroupReader reader(*file);
      std::size_t left = samples_.size_of(shard);
      for (Group group; left > 0;) {
        try {
          if (!reader.next(group)) break;
          if (!is_complete(group)) continue;
          --left;
          for (const std::string& caption : read_captions(*file, group)) visit(caption);
        } catch (const Error& error) {
          print_error("captions left out: {}", error.what());
        }
      }
      if (left > 0) print_error("captions left out: {}", too_few(shard, samples_.size_of(shard) - left));
    }
  }

 private:
  using Counts = std::vector<std::optional<std::size_t>>;  ///< the number of samples of each shard, if it is known

  std::unique_ptr<RandomAccessFile> open(std::size_t shard) const {
    return remote_ ? remote_->open(shards_[shard]) : std::make_unique<RandomAccessFile>(shards_[shard]);
  }

  /// Fetches the next few shards, except for those whose samples have been counted.
  void prefetch_from(std::size_t shard, const Counts& counts = {}) const {
    constexpr std::size_t ahead = 4;
    std::vector<std::string> urls;
    for (std::size_t next = shard; next < std::min(shard + ahead, shards_.size()); ++next)
      if (counts.empty() || !counts[next]) urls.push_back(shards_[next]);
    remote_->prefetch(urls);
  }

  static bool is_complete(const Group& group) { return group.image && (group.text || group.json); }

  /// Finds a shard's samples as far as the file is intact; otherwise `damage` says what ended the walk. Adds the number
  /// of groups, complete or not, to `groups`.
  static SampleOffsets walk(const RandomAccessFile& file, std::size_t& groups, std::optional<Error>& damage) {
    SampleOffsets offsets;
    try {
      GroupReader reader(file);
      for (Group group; reader.next(group); ++groups)
        if (is_complete(group)) offsets.push_back(group.begin);
    } catch (const Error& error) {
      damage = error;
    }
    return offsets;
  }

  /// The offsets of a shard's samples, including that of `index_in_shard` unless it has fewer; `damage` may say why. A
  /// damaged shard is walked again for a missing sample, since the failure may be temporary.
  std::shared_ptr<const SampleOffsets> offsets_of(std::size_t shard, std::size_t index_in_shard,
                                                  const RandomAccessFile& file, std::optional<Error>& damage) const {
    {
      const std::lock_guard lock(mutex_);
      for (const IndexedShard& known : indexed_)
        if (known.shard == shard && (index_in_shard < known.offsets->size() || !known.is_damaged)) return known.offsets;
    }
    std::size_t groups = 0;
    auto offsets = std::make_shared<const SampleOffsets>(walk(file, groups, damage));
    constexpr std::size_t kept = 32;  // shards: those of two windows and more
    const std::lock_guard lock(mutex_);
    for (IndexedShard& known : indexed_) {
      if (known.shard != shard) continue;
      if (known.offsets->size() <= offsets->size()) known = {shard, offsets, damage.has_value()};
      return known.offsets;  // another thread may have found more
    }
    if (indexed_.size() == kept) indexed_.pop_front();
    indexed_.push_back({shard, offsets, damage.has_value()});
    return offsets;
  }

  /// Reads the sample's headers again; the file may have changed since it was indexed.
  Group find(const RandomAccessFile& file, std::size_t shard, std::size_t index_in_shard) const {
    std::optional<Error> damage;
    const auto offsets = offsets_of(shard, index_in_shard, file, damage);
    if (index_in_shard >= offsets->size()) {
      if (damage) throw *damage;
      fail("{}", too_few(shard, offsets->size()));
    }
    GroupReader reader(file, (*offsets)[index_in_shard]);
    Group group;
    if (!reader.next(group) || !is_complete(group))
      fail("{}: has changed: no sample at byte {}", redact_url(shards_[shard]), (*offsets)[index_in_shard]);
    return group;
  }

  std::string too_few(std::size_t shard, std::size_t found) const {
    return fmt::format("{}: has {} samples, {} says {}", redact_url(shards_[shard]), found, count_source_,
                       samples_.size_of(shard));
  }

  /// The sizes in each folder's sizes.json, in open_clip's format: {"00000.tar": 9983, …}. Empty if one is missing.
  std::vector<std::size_t> given_sizes() const {
    std::map<std::string, Json> tables;
    std::vector<std::size_t> sizes;
    for (const std::string& shard : shards_) {
      const std::size_t query = remote_ ? std::min(shard.find('?'), shard.size()) : shard.size();
      const std::size_t slash = shard.rfind('/', query);  // npos in the current folder: adding 1 gives 0
      const std::string table = shard.substr(0, slash + 1) + "sizes.json" + shard.substr(query);
      const auto [found, is_new] = tables.try_emplace(table);
      if (is_new) {
        const auto text = remote_ ? remote_->read(table) : read_if_exists(table);
        if (!text) return {};
        found->second = parse_json(*text, redact_url(table));
      }
      const std::string name = shard.substr(slash + 1, query - slash - 1);
      const Json& json = found->second;
      if (!json.is_object() || !json.contains(name) || !json.at(name).is_number_unsigned())
        fail("{}: expected the number of samples of {}", redact_url(table), name);
      sizes.push_back(json.at(name).get<std::size_t>());
      if (!is_plausible(sizes.back(), max_samples_in(shard)))
        fail("{}: {} cannot have {} samples", redact_url(table), name, sizes.back());
    }
    return sizes;
  }

  /// How many samples a shard has room for; a remote one, any number.
  std::uint64_t max_samples_in(const std::string& shard) const {
    constexpr std::uint64_t two_headers = 1024;  // of an image and a caption
    std::error_code unknown;
    return remote_ ? UINT64_MAX : fs::file_size(shard, unknown) / two_headers;
  }

  static std::optional<std::string> read_if_exists(const fs::path& path) {
    return path_exists(path) ? std::optional(read_regular_file(path, max_sizes_json_bytes)) : std::nullopt;
  }

  /// What an earlier start counted, perhaps only for the first shards.
  Counts read_counts() const {
    try {
      const auto text = read_if_exists(counts_file_);
      if (!text) return {};
      Counts counts;
      for (const Json& count : parse_json(*text, counts_file_.string()).get<std::vector<Json>>())
        counts.push_back(count.is_null() ? std::nullopt : std::optional(count.get<std::size_t>()));
      if (counts.size() <= shards_.size()) return counts;
    } catch (const std::exception&) {  // not ours, or damaged: counted again
    }
    return {};
  }

  void write_counts(const Counts& counts) const {
    Json json = Json::array();
    for (const auto& count : counts) json.push_back(count ? Json(*count) : Json());
    write_file_atomically(counts_file_, json.dump());
  }

  std::vector<std::string> shards_;
  std::unique_ptr<RemoteFiles> remote_;  ///< set when the shards are URLs
  fs::path counts_file_;
  std::string count_source_ = "sizes.json";
  Ranges samples_;  ///< of each shard
  mutable std::mutex mutex_;
  struct IndexedShard {
    std::size_t shard;
    std::shared_ptr<const SampleOffsets> offsets;
    bool is_damaged;
  };
  mutable std::deque<IndexedShard> indexed_;  ///< of the shards last needed
};

}  // namespace

std::unique_ptr<Dataset> open_webdataset(const std::vector<std::filesystem::path>& shards) {
  return std::make_unique<WebDataset>(std::vector<std::string>(shards.begin(), shards.end()), nullptr, fs::path());
}

std::unique_ptr<Dataset> open_remote_webdataset(const std::vector<std::string>& urls) {
  Hash hash;
  for (const std::string& url : urls) hash.add(url);
  const auto folder = cache_home() / "gondola" / "shards" / fmt::format("{:016x}", hash.value());
  return std::make_unique<WebDataset>(urls, std::make_unique<RemoteFiles>(folder), folder.string() + ".sizes.json");
}

}  // namespace gondola
