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

/// When a file of embeddings is complete: what a crash loses at most.
struct FileLimit {
  std::size_t rows = 1'000'000;  ///< as clip-retrieval
  std::chrono::seconds time = std::chrono::minutes(10);
};

/// What embed writes of its images ("img") or texts ("text"), in the layout of clip-retrieval:
/// DIR/KIND_emb/KIND_emb_N.npy and, of images, their paths in DIR/metadata/metadata_N.parquet, row by row. All numbers
/// are of one width (with the tenth file, "0" becomes "00"): files in the order of their names are in that of the rows.
/// DIR/KIND_emb.json tells what they are made of and how far they are, so that a call that was stopped can be resumed.
/// Each file appears whole, and one process at a time writes them.
class EmbeddingFiles {
 public:
  /// `made_by` is all that a row depends on beside its input; its "weights" are the model's. Throws Error when DIR has
  /// embeddings of this kind, unless `resume` is given and they are made by the same from the first of these inputs;
  /// when it has the other kind's by another model; and when another process writes there. `inputs` must outlive the
  /// object.
  EmbeddingFiles(std::filesystem::path folder, std::string kind, Json made_by, std::span<const std::string> inputs,
                 bool resume, const FileLimit& limit = {});
  ~EmbeddingFiles();
  EmbeddingFiles(const EmbeddingFiles&) = delete;
  EmbeddingFiles& operator=(const EmbeddingFiles&) = delete;

  std::size_t done() const { return done_; }                       ///< inputs that have been processed
  const std::set<std::size_t>& failed() const { return failed_; }  ///< those of them without an embedding: append()
  std::size_t saved() const { return saved_; }                     ///< inputs that a resumed call will go on after
  /// Of each file.
  const std::vector<std::size_t>& rows() const { return rows_; }
  std::filesystem::path file(std::size_t number) const;

  /// The embedding of inputs[index], of one that failed or of one that is not done. Those between the last that is done
  /// and this have none.
  void append(std::size_t index, NpyType type, std::span<const float> embedding);

  /// Completes the file that was begun, when something went wrong: where that fails, without it.
  void save_what_can_be() noexcept;

  /// Completes the last file, when no input is left. Throws Error.
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
  void pass_over(std::size_t done);

  std::filesystem::path folder_;
  std::string kind_;
  Json made_by_;
  std::span<const std::string> inputs_;
  FileLimit limit_;
  std::unique_ptr<FileLock> lock_;

  std::size_t done_ = 0, saved_ = 0;
  Hash inputs_hash_;              ///< of those done
  std::set<std::size_t> failed_;  ///< of those done
  std::vector<std::size_t> rows_;

  std::unique_ptr<NpyWriter> writer_;  ///< of the file that was begun
  std::chrono::steady_clock::time_point begun_;
  std::vector<std::string> written_;  ///< the inputs of its rows
};

}  // namespace gondola::cli
