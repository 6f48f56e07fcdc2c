#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/file_lock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/npy.h"

namespace gondola::cli {

/// The size or age at which a file of embeddings is complete, which is the most that a crash loses.
struct FileLimit {
  std::size_t rows = 1'000'000;  ///< as in clip-retrieval
  std::chrono::seconds time = std::chrono::minutes(10);
};

/// The files that embed writes for images ("img") or texts ("text"), in the layout of clip-retrieval:
/// DIR/KIND_emb/KIND_emb_N.npy and, for images, the path of each row in DIR/metadata/metadata_N.parquet. All numbers
/// have the same width (with the tenth file, "0" becomes "00"), so that names sort in the order of the rows.
/// DIR/KIND_emb.json records how the embeddings were made and how many inputs are done, so that an interrupted run can
/// be resumed. Each file appears only when it is whole, and only one process at a time writes them.
class EmbeddingFiles {
 public:
  /// `made_by` is everything that a row depends on except its input; its "weights" are the model's. Throws Error when
  /// DIR has embeddings of this kind, unless `resume` is set and they were made by the same from the first of these
  /// inputs; when it has embeddings of the other kind by another model; and when another process is writing there.
  /// `inputs` must outlive the object.
  EmbeddingFiles(std::filesystem::path folder, std::string kind, Json made_by, std::span<const std::string> inputs,
                 bool resume, const FileLimit& limit = {});
  ~EmbeddingFiles();
  EmbeddingFiles(const EmbeddingFiles&) = delete;
  EmbeddingFiles& operator=(const EmbeddingFiles&) = delete;

  std::size_t done() const { return done_; }                       ///< inputs that have been processed
  const std::set<std::size_t>& failed() const { return failed_; }  ///< those of them without an embedding, see append()
  std::size_t saved() const { return saved_; }                     ///< inputs after which a resumed run continues
  /// The number of rows in each file.
  const std::vector<std::size_t>& rows() const { return rows_; }
  std::filesystem::path file(std::size_t number) const;

  /// Appends the embedding of inputs[index], which failed before or is not done yet. Inputs that are skipped, between
  /// the last one done and this one, count as failed.
  void append(std::size_t index, NpyType type, std::span<const float> embedding);

  /// Completes the unfinished file after something went wrong, or gives it up if that fails.
  void save_partial() noexcept;

  /// Completes the last file once no input is left. Throws Error.
  void finish();

 private:
  std::filesystem::path record_of(const std::string& kind) const { return folder_ / (kind + "_emb.json"); }
  std::filesystem::path embeddings() const { return folder_ / (kind_ + "_emb"); }
  std::filesystem::path metadata() const { return folder_ / "metadata"; }
  std::filesystem::path embeddings(std::size_t number, std::size_t digits) const;
  std::filesystem::path metadata(std::size_t number, std::size_t digits) const;
  void widen_names() const;
  void require_same_model_as(const std::string& other_kind) const;
  void lock();
  void restore();
  void save();
  void write_record() const;
  void advance(std::size_t done);
  void skip_to(std::size_t done);

  std::filesystem::path folder_;
  std::string kind_;
  Json made_by_;
  std::span<const std::string> inputs_;
  FileLimit limit_;
  std::unique_ptr<FileLock> lock_;

  std::size_t done_ = 0, saved_ = 0;
  Hash inputs_hash_;              ///< of the inputs done
  std::set<std::size_t> failed_;  ///< of the inputs done
  std::vector<std::size_t> rows_;

  std::unique_ptr<NpyWriter> writer_;  ///< of the unfinished file
  std::chrono::steady_clock::time_point begun_;
  std::vector<std::string> written_;  ///< the inputs of its rows
};

}  // namespace gondola::cli
