#include "cli/embedding_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/parquet_writer.h"

namespace gondola::cli {
namespace {

namespace fs = std::filesystem;

bool has_embeddings(const fs::path& folder) {
  const fs::directory_iterator entries(folder);
  return std::any_of(begin(entries), end(entries),
                     [](const fs::directory_entry& entry) { return entry.path().extension() == ".npy"; });
}

/// Whether the process that began this was killed before its first file; false if the file system has no locks to tell.
bool is_abandoned(const fs::path& folder) {
  if (!fs::exists(folder)) return true;
  try {
    return !has_embeddings(folder) && FileLock(folder / ".lock").try_lock();
  } catch (const Error&) {
    return false;
  }
}

/// Calls read(record) for the record at `path`.
template <typename Read>
void read_record(const fs::path& path, const Read& read) {
  try {
    read(parse_json(read_file(path), path.string()));
  } catch (const Json::exception&) {
    fail("{}: is damaged, or was not written by gondola embed", path.string());
  }
}

/// As in clip-retrieval: as many digits as the number of files has.
std::size_t digits_of(std::size_t files) {
  return fmt::to_string(files).size();
}

/// Removes the paths of embeddings that are gone; readers would take them for those of the next ones.
void remove_metadata(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const fs::path& file = entry.path();
    if (file.filename().string().starts_with("metadata_") && file.extension() == ".parquet" && !fs::remove(file, error))
      fail("{}: belongs to embeddings that are gone, and cannot be removed: {}", file.string(), error.message());
  }
}

std::string hexadecimal(const Hash& hash) {
  return fmt::format("{:016x}", hash.value());
}

}  // namespace

EmbeddingFiles::EmbeddingFiles(fs::path folder, std::string kind, Json made_by, std::span<const std::string> inputs,
                               bool resume, const FileLimit& limit)
    : folder_(std::move(folder)), kind_(std::move(kind)), made_by_(std::move(made_by)), inputs_(inputs), limit_(limit) {
  lock();
  const fs::path record = record_of(kind_), embeddings = this->embeddings();
  if (!has_embeddings(embeddings)) {
    write_record();  // first: of two processes that start at once with different models, at least one sees the other's
    try {
      require_same_model_as(kind_ == "img" ? "text" : "img");
    } catch (const Error&) {
      std::error_code ignored;
      fs::remove(record, ignored);
      throw;
    }
    if (kind_ == "img") remove_metadata(metadata());
  } else if (!fs::exists(record)) {
    fail("{}: has embeddings but no {}, without which they cannot be resumed; name another folder", embeddings.string(),
         record.filename().string());
  } else if (resume) {
    restore();
  } else {
    fail("{}: already has embeddings; continue with --resume, or name another folder", embeddings.string());
  }
}

EmbeddingFiles::~EmbeddingFiles() {
  std::error_code ignored;
  if (rows_.empty() && !path_exists(file(0))) fs::remove(record_of(kind_), ignored);
}

fs::path EmbeddingFiles::file(std::size_t number) const {
  return embeddings(number, digits_of(rows_.size()));
}

fs::path EmbeddingFiles::embeddings(std::size_t number, std::size_t digits) const {
  return embeddings() / fmt::format("{}_emb_{:0{}}.npy", kind_, number, digits);
}

fs::path EmbeddingFiles::metadata(std::size_t number, std::size_t digits) const {
  return metadata() / fmt::format("metadata_{:0{}}.parquet", number, digits);
}

void EmbeddingFiles::widen_names() const {
  const std::size_t digits = digits_of(rows_.size());
  const auto widen = [](const fs::path& narrow, const fs::path& wide) {
    if (narrow != wide && fs::exists(narrow)) move_into_place(narrow, wide);
  };
  for (std::size_t fewer = 1; fewer < digits; ++fewer) {
    for (std::size_t number = 0; number < rows_.size(); ++number) {
      if (kind_ == "img") widen(metadata(number, fewer), metadata(number, digits));
      widen(embeddings(number, fewer), embeddings(number, digits));
    }
  }
}

void EmbeddingFiles::require_same_model_as(const std::string& other_kind) const {
  const fs::path path = record_of(other_kind);
  if (!fs::exists(path)) return;
  read_record(path, [&](const Json& record) {
    if (record.at("made_by").at("weights") != made_by_.at("weights") && !is_abandoned(folder_ / (other_kind + "_emb")))
      fail("{}: the embeddings in this folder are another model's; name another folder", path.string());
  });
}

void EmbeddingFiles::lock() {
  const fs::path folder = embeddings();
  make_folder(folder);
  lock_ = std::make_unique<FileLock>(folder / ".lock");
  if (!lock_->try_lock_where_possible()) fail("{}: another process is writing there", folder.string());
  remove_temporaries(folder);
  if (kind_ == "img") remove_temporaries(metadata());
}

void EmbeddingFiles::restore() {
  const fs::path path = record_of(kind_);
  read_record(path, [&](const Json& record) {
    for (const auto& [key, value] : made_by_.items()) {
      const Json& before = record.at("made_by").at(key);
      if (before == value) continue;
      if (key == "weights" || key == "model")
        fail("{}: the embeddings in this folder are another model's; name another folder", path.string());
      fail("{}: {} was {} and is {} now; set it as it was, or name another folder", path.string(), key, before.dump(),
           value.dump());
    }
    const auto done = record.at("inputs").get<std::size_t>();
    if (done > inputs_.size())
      fail(
          "{}: {} inputs are embedded already, more than are given; give the same in the same order, or name another "
          "folder",
          path.string(), done);
    advance(done);
    if (record.at("inputs_hash") != hexadecimal(inputs_hash_))
      fail(
          "{}: the {} inputs embedded already are not the first of those given (a folder is listed anew each time); "
          "give the same in the same order, or name another folder",
          path.string(), done);
    failed_ = record.value("failed", std::set<std::size_t>());  // which the first version did not write
    if (!failed_.empty() && *failed_.rbegin() >= done)
      fail("{}: is damaged, or was not written by gondola embed", path.string());
    rows_ = record.at("rows").get<std::vector<std::size_t>>();
    widen_names();
    for (std::size_t number = 0; number < rows_.size(); ++number)
      if (!fs::exists(file(number))) fail("{}: {} is gone", path.string(), file(number).string());
    saved_ = done_;
  });
}

void EmbeddingFiles::advance(std::size_t done) {
  for (; done_ < done; ++done_) {
    inputs_hash_.add(inputs_[done_]);
    inputs_hash_.add({"\n", 1});
  }
}

void EmbeddingFiles::skip_to(std::size_t done) {
  for (std::size_t index = done_; index < done; ++index) failed_.insert(index);
  advance(done);
}

void EmbeddingFiles::append(std::size_t index, NpyType type, std::span<const float> embedding) {
  using Clock = std::chrono::steady_clock;
  if (!writer_) {
    writer_ = std::make_unique<NpyWriter>(file(rows_.size()), type, embedding.size());
    begun_ = Clock::now();
  }
  writer_->append(embedding);
  written_.push_back(inputs_[index]);
  skip_to(index + 1);
  failed_.erase(index);
  if (written_.size() == limit_.rows || Clock::now() - begun_ >= limit_.time) save();
}

void EmbeddingFiles::save() {
  const std::size_t digits = digits_of(rows_.size());
  if (writer_) {
    const std::unique_ptr<NpyWriter> writer = std::move(writer_);  // dropped if this fails
    if (kind_ == "img") {
      writer->complete();  // before the metadata: a full disk must not leave metadata without embeddings
      make_folder(metadata());
      write_parquet(metadata(rows_.size(), digits), "image_path", written_);
    }
    writer->finish();
    rows_.push_back(written_.size());
    written_.clear();
  }
  write_record();
  saved_ = done_;
  if (digits_of(rows_.size()) > digits) widen_names();  // after the record, which tells a resumed run how many exist
}

void EmbeddingFiles::save_partial() noexcept {
  if (!writer_) return;  // nothing new since the last file, or writing that one failed
  try {
    save();
  } catch (const std::exception&) {
  }
}

void EmbeddingFiles::write_record() const {
  const nlohmann::ordered_json record = {{"made_by", made_by_},
                                         {"inputs", done_},
                                         {"inputs_hash", hexadecimal(inputs_hash_)},
                                         {"failed", failed_},
                                         {"rows", rows_}};
  write_file_atomically(record_of(kind_), to_json_line(record) + "\n");
}

void EmbeddingFiles::finish() {
  skip_to(inputs_.size());
  save();
}

}  // namespace gondola::cli
