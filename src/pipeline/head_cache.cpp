#include "pipeline/head_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <string_view>
#include <utility>

#include "base/cpu.h"
#include "base/environment.h"
#include "base/file.h"
#include "base/hash.h"
#include "pipeline/device_encoder.h"
#include "pipeline/fingerprint.h"

namespace gondola {
namespace {

namespace fs = std::filesystem;

template <class T>
std::string_view bytes_of(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

/// Tells one version of a file from another without reading it.
std::string version_of(const fs::path& file) {
  return fmt::format("{} bytes of {}", fs::file_size(file), fs::last_write_time(file).time_since_epoch().count());
}

void append_list(std::string& key, std::string_view what, std::span<const std::string> texts) {
  key += fmt::format("{} {}\n", texts.size(), what);
  for (const std::string& text : texts) key += fmt::format("{} {}\n", text.size(), text);
}

/// The part of an entry before the values: the whole key, so that a collision of file names is noticed.
std::string entry_header(const std::string& key) {
  return "gondola head 1\n" + key;
}

}  // namespace

std::optional<std::string> head_key(const LoadedModel& model, std::span<const std::string> labels,
                                    std::span<const std::string> templates, Overflow overflow) try {
  if (model.files().source.extension() == ".json") return std::nullopt;  // shards, whose versions it does not show
  std::string key = fmt::format("binary {}\nfile {}\n", version_of(current_binary()), version_of(model.files().source));
  key += text_fingerprint(model);
  key += fmt::format("{} on {}, {}\n", name(model.precision()), model.device(), name(active_isa()));
  if (model.device() != "cpu") key += fmt::format("plugin {}\n", version_of(encoder_plugin_path()));
  key += overflow == Overflow::truncate ? "long texts cut\n" : "";
  append_list(key, "templates", templates);
  append_list(key, "labels", labels);
  return key;
} catch (const std::exception&) {
  return std::nullopt;
}

HeadCache::HeadCache(fs::path folder, std::uint64_t limit_bytes)
    : folder_(std::move(folder)), limit_bytes_(limit_bytes) {}

fs::path HeadCache::file_of(const std::string& key) const {
  return folder_ / fmt::format("{:016x}.head", hash_of(key));
}

std::optional<std::vector<float>> HeadCache::find(const std::string& key, std::size_t values) const {
  try {
    const std::string header = entry_header(key);
    const std::size_t size = header.size() + values * sizeof(float);
    std::uint64_t checksum = 0;
    const std::string entry = read_file(file_of(key), size + sizeof checksum);
    if (entry.size() != size + sizeof checksum || !entry.starts_with(header)) return std::nullopt;
    std::memcpy(&checksum, entry.data() + size, sizeof checksum);
    if (checksum != hash_of(std::string_view(entry).substr(0, size))) return std::nullopt;
    std::vector<float> found(values);
    std::memcpy(found.data(), entry.data() + header.size(), values * sizeof(float));
    std::error_code ignored;
    fs::last_write_time(file_of(key), fs::file_time_type::clock::now(), ignored);
    return found;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

void HeadCache::store(const std::string& key, std::span<const float> head) const {
  try {
    make_folder(folder_);
    std::string entry = entry_header(key);
    entry += bytes_of(head);
    const std::uint64_t checksum = hash_of(entry);
    entry += bytes_of(std::span(&checksum, 1));
    if (entry.size() > limit_bytes_) return;  // it would displace all others, then itself
    write_file_atomically(file_of(key), entry);
    remove_oldest();
  } catch (const std::exception&) {  // the next run encodes again
  }
}

void HeadCache::remove_oldest() const {
  std::vector<std::pair<fs::file_time_type, fs::path>> files;
  std::uint64_t bytes = 0;
  for (const fs::directory_entry& file : fs::directory_iterator(folder_)) {
    files.emplace_back(file.last_write_time(), file.path());
    bytes += file.file_size();
  }
  std::ranges::sort(files);
  for (const auto& [time, file] : files) {
    if (bytes <= limit_bytes_) return;
    bytes -= fs::file_size(file);
    fs::remove(file);
  }
}

}  // namespace gondola
