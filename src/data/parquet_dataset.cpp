#include "data/sources.h"

#include "base/error.h"

#ifdef GONDOLA_WITH_ARROW

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>
#include <parquet/metadata.h>
#include <parquet/schema.h>

#include <algorithm>
#include <deque>
#include <initializer_list>
#include <mutex>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "base/file.h"
#include "base/streams.h"
#include "base/utf8.h"
#include "data/ranges.h"
#include "data/string_table.h"

namespace gondola {
namespace {

namespace fs = std::filesystem;

static_assert(ARROW_VERSION_MAJOR >= 26, "needs pyarrow 26: threads share arrays, whose dictionary() raced before");

/// Returns a string or a binary value, of any type that Arrow reads them as; nothing for a null.
std::optional<std::string_view> bytes_at(const arrow::Array& array, std::int64_t row) {
  if (array.IsNull(row)) return std::nullopt;
  if (const auto* binary = dynamic_cast<const arrow::BinaryArray*>(&array)) return binary->GetView(row);
  if (const auto* binary = dynamic_cast<const arrow::LargeBinaryArray*>(&array)) return binary->GetView(row);
  if (const auto* binary = dynamic_cast<const arrow::BinaryViewArray*>(&array)) return binary->GetView(row);
  if (const auto* coded = dynamic_cast<const arrow::DictionaryArray*>(&array)) {
    const std::int64_t index = coded->GetValueIndex(row), size = coded->dictionary()->length();  // Arrow checks neither
    if (index < 0 || index >= size) fail("row {} is value {} of {}", row, index, size);
    return bytes_at(*coded->dictionary(), index);
  }
  fail("is {}, expected strings or bytes", array.type()->ToString());
}

/// Returns a row's captions, a string or a list: PyArrow writes "list", Polars "large_list".
std::vector<std::string> captions_at(const arrow::Array& array, std::int64_t row) {
  constexpr std::size_t max_caption_list_bytes = 16 << 20;  // a dictionary may encode them in a few
  std::vector<std::string> captions;
  std::size_t bytes = 0;
  const auto add = [&](const arrow::Array& values, std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin; at < end; ++at)
      if (const auto text = bytes_at(values, at)) {
        bytes += sizeof(std::string) + text->size();
        if (bytes > max_caption_list_bytes)
          fail("the captions of a row take more than {} bytes", max_caption_list_bytes);
        captions.emplace_back(*text);
      }
    for (const std::string& caption : captions)
      if (!is_valid_utf8(caption)) fail("a caption is not UTF-8: {}", caption);
  };
  const auto add_list = [&](const auto* list) {
    if (list != nullptr && !list->IsNull(row))
      add(*list->values(), list->value_offset(row), list->value_offset(row) + list->value_length(row));
    return list != nullptr;
  };
  if (!add_list(dynamic_cast<const arrow::ListArray*>(&array)) &&
      !add_list(dynamic_cast<const arrow::LargeListArray*>(&array)) &&
      !add_list(dynamic_cast<const arrow::FixedSizeListArray*>(&array)))
    add(array, row, row + 1);
  return captions;
}

/// How many bytes `stored` ones in a file may unpack to. A dictionary or a shared prefix can turn a few into any
/// number, unseen in the file's own figures. Text packs to about a tenth, and a growing array takes twice its size.
std::int64_t max_unpacked_bytes(std::int64_t stored) {
  return (std::int64_t{1} << 30) + 32 * stored;
}

/// A memory pool that gives Arrow no more than a limit.
class LimitedMemory {
 public:
  explicit LimitedMemory(std::int64_t limit) : limited_(&counted_, limit) {}
  arrow::MemoryPool* pool() { return &limited_; }
  std::int64_t in_use() const { return counted_.bytes_allocated(); }

 private:
  arrow::ProxyMemoryPool counted_{arrow::default_memory_pool()};
  arrow::CappedMemoryPool limited_;
};

bool holds_paths(const arrow::DataType& type) {
  if (const auto* coded = dynamic_cast<const arrow::DictionaryType*>(&type)) return holds_paths(*coded->value_type());
  return type.id() == arrow::Type::STRING || type.id() == arrow::Type::LARGE_STRING ||
         type.id() == arrow::Type::STRING_VIEW;
}

/// Reads the needed columns of one file by row group. Keeps it open only while reading: a set may have thousands.
class ParquetFile {
 public:
  explicit ParquetFile(const fs::path& path) : path_(path) {
    check_regular_file(path);
    std::shared_ptr<arrow::Schema> schema;
    guarded([&] {
      const auto opened = reader(arrow::default_memory_pool());
      metadata_ = opened->parquet_reader()->metadata();
      check(opened->GetSchema(&schema));
      size_ = static_cast<std::int64_t>(fs::file_size(path));
    });
    image_ = column({"image", "image_path"});
    caption_ = column({"caption", "text"});
    const auto field = schema->GetFieldByName(image_.name);
    if (!field) fail("{}: has several columns {}", path.string(), image_.name);
    images_are_paths_ = holds_paths(*field->type());
  }

  const fs::path& path() const { return path_; }
  std::int64_t size() const { return size_; }
  bool has_rows() const { return metadata_->num_rows() > 0; }
  /// Whether the column of images names them instead; false for an empty table, whose columns may have no type.
  bool images_are_paths() const { return images_are_paths_; }
  int row_groups() const { return metadata_->num_row_groups(); }
  std::size_t rows(int group) const {
    const std::int64_t rows = metadata_->RowGroup(group)->num_rows(), one_per_bit = 8 * size_;
    if (rows < 0 || !is_plausible(static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(one_per_bit)))
      fail("{}: row group {} claims {} rows", path_.string(), group, rows);
    return static_cast<std::size_t>(rows);
  }

  struct RowGroup {
    std::shared_ptr<LimitedMemory> memory;  // owns the arrays
    std::shared_ptr<arrow::ChunkedArray> images, captions;
  };
  /// Uncompressed size of a row group, by the file's own figures.
  std::int64_t bytes(int group) const { return metadata_->RowGroup(group)->total_byte_size(); }
  RowGroup read(int group, bool with_images = true) const {
    RowGroup found;
    guarded([&] {
      found.memory = memory_for(group);
      const auto read = reader(found.memory->pool());
      if (with_images) found.images = read_column(*read, group, image_);
      found.captions = read_column(*read, group, caption_);
    });
    return found;
  }

  /// Runs code that calls Arrow: Arrow's errors and our own become Error that names the file.
  template <class Body>
  void guarded(const Body& body) const {
    try {
      body();
    } catch (const std::exception& error) {
      fail("{}: {}", path_.string(), error.what());
    }
  }

 private:
  struct Column {
    std::string name;
    std::vector<int> leaves;  ///< indices of the stored columns that it consists of
  };

  static void check(const arrow::Status& status) {
    if (!status.ok()) fail("{}", status.message());
  }
  template <class T>
  static T value(arrow::Result<T> result) {
    check(result.status());
    return std::move(result).ValueUnsafe();
  }

  static std::shared_ptr<arrow::ChunkedArray> read_column(parquet::arrow::FileReader& reader, int group,
                                                          const Column& column) {
    auto table = reader.ReadRowGroup(group, column.leaves);
    if (table.status().IsOutOfMemory())
      fail("row group {}: column {}: too much to unpack: {}", group, column.name, table.status().message());
    const auto found = value(std::move(table))->GetColumnByName(column.name);
    if (!found) fail("row group {} has lost the column {}", group, column.name);
    return found;
  }

  /// What is read is in `pool` and must not outlive it. The file itself is not: Arrow reads ahead in its own threads.
  std::unique_ptr<parquet::arrow::FileReader> reader(arrow::MemoryPool* pool) const {
    parquet::arrow::FileReaderBuilder builder;
    const auto file = value(arrow::io::ReadableFile::Open(path_.string()));
    check(builder.Open(file, parquet::ReaderProperties(pool), metadata_));
    return value(builder.memory_pool(pool)->Build());
  }

  std::shared_ptr<LimitedMemory> memory_for(int group) const {
    const auto of_group = metadata_->RowGroup(group);
    std::int64_t stored = 0;
    for (const Column* column : {&image_, &caption_})
      for (const int leaf : column->leaves)
        stored += std::clamp<std::int64_t>(of_group->ColumnChunk(leaf)->total_compressed_size(), 0, size_);
    return std::make_shared<LimitedMemory>(max_unpacked_bytes(std::min(stored, size_)));
  }

  Column column(std::initializer_list<const char*> names) const {
    const auto& schema = *metadata_->schema();
    for (const char* name : names) {
      Column found{name, {}};
      for (int leaf = 0; leaf < schema.num_columns(); ++leaf)
        if (schema.GetColumnRoot(leaf)->name() == name) found.leaves.push_back(leaf);
      if (!found.leaves.empty()) return found;
    }
    fail("{}: no column {}", path_.string(), fmt::join(names, " or "));
  }

  fs::path path_;
  std::shared_ptr<parquet::FileMetaData> metadata_;
  std::int64_t size_ = 0;  ///< of the file
  Column image_, caption_;
  bool images_are_paths_ = false;
};

/// The encoded images of a column of bytes, or of structs with a field `bytes`, as in Hugging Face's data sets.
const arrow::Array& bytes_of(const arrow::Array& images) {
  if (const auto* structs = dynamic_cast<const arrow::StructArray*>(&images)) {
    const auto bytes = structs->GetFieldByName("bytes");
    if (!bytes) fail("column image: has no field bytes");
    return *bytes;  // kept alive by the struct
  }
  return images;
}

/// A row of a column, which may consist of several arrays, since one holds at most 2 GiB.
struct Cell {
  const arrow::Array& array;
  std::int64_t row;
};

Cell cell_at(const arrow::ChunkedArray& column, std::int64_t row) {
  std::int64_t left = row;
  for (const auto& chunk : column.chunks()) {
    if (left < chunk->length()) return {*chunk, left};
    left -= chunk->length();
  }
  fail("is cut short: row {} of {}", row, column.length());
}

/// Rows that contain their images. Row groups are read on demand, whichever file they are in, and the last ones read
/// are kept.
class ImagesInParquet : public Dataset {
 public:
  explicit ImagesInParquet(std::vector<ParquetFile> files) : files_(std::move(files)) {
    double bytes = 0;
    for (const ParquetFile& file : files_) {
      for (int group = 0; group < file.row_groups(); ++group) {
        rows_.add(file.rows(group));
        bytes += static_cast<double>(file.bytes(group));
      }
      groups_.add(static_cast<std::size_t>(file.row_groups()));
    }
    const double mean = std::max(1.0, bytes / static_cast<double>(rows_.count()));
    window_ = static_cast<std::size_t>(std::clamp(window_bytes / mean, 1.0, max_window_groups));
  }

  std::size_t size() const override { return rows_.end(); }

  std::vector<Part> parts() const override {
    Part part{{}, window_};
    for (std::size_t group = 0; group < rows_.count(); ++group) part.shards.push_back(rows_.size_of(group));
    return {part};
  }

  Sample get(std::size_t index) const override {
    const std::size_t group = rows_.range_containing(index), file = groups_.range_containing(group);
    const std::size_t row_of_file = index - rows_.begin_of(groups_.begin_of(file));
    Sample sample;
    sample.key = fmt::format("{}:{}", files_[file].path().string(), row_of_file);
    const auto rows = row_group(group);
    files_[file].guarded([&] {
      const auto row = static_cast<std::int64_t>(index - rows_.begin_of(group));
      const Cell picture = cell_at(*rows->images, row), caption = cell_at(*rows->captions, row);
      const auto image = bytes_at(bytes_of(picture.array), picture.row);
      sample.captions = captions_at(caption.array, caption.row);
      if (!image || sample.captions.empty()) fail("row {} has no {}", row_of_file, image ? "caption" : "image");
      sample.image = *image;
    });
    return sample;
  }

  void for_each_caption(const std::function<void(std::string_view)>& visit) const override {
    for (const ParquetFile& file : files_) {
      for (int group = 0; group < file.row_groups(); ++group) {
        try {
          const auto rows = file.read(group, /*with_images=*/false);
          file.guarded([&] {
            for (const auto& chunk : rows.captions->chunks())
              for (std::int64_t row = 0; row < chunk->length(); ++row)
                for (const std::string& caption : captions_at(*chunk, row)) visit(caption);
          });
        } catch (const Error& error) {
          print_error("captions of row group {} left out, at least in part: {}", group, error.what());
        }
      }
    }
  }

 private:
  /// A window has at most this many row groups and about this many bytes in all. Twice as many groups are kept, or
  /// fewer if the files' own figures are far too low.
  static constexpr double max_window_groups = 8, window_bytes = 1e9;

  std::shared_ptr<const ParquetFile::RowGroup> row_group(std::size_t group) const {
    const std::lock_guard lock(mutex_);
    for (const auto& [number, rows] : row_groups_)
      if (number == group) return rows;
    const std::size_t file = groups_.range_containing(group);
    const int of_file = static_cast<int>(group - groups_.begin_of(file));
    auto rows = std::make_shared<const ParquetFile::RowGroup>(files_[file].read(of_file));
    while (row_groups_.size() >= 2 * window_ || (row_groups_.size() > 1 && kept_bytes() > 4 * window_bytes))
      row_groups_.pop_front();
    return row_groups_.emplace_back(group, std::move(rows)).second;
  }

  double kept_bytes() const {
    double bytes = 0;
    for (const auto& [number, rows] : row_groups_) bytes += static_cast<double>(rows->memory->in_use());
    return bytes;
  }

  std::vector<ParquetFile> files_;
  Ranges rows_;    ///< of each row group
  Ranges groups_;  ///< of each file
  std::size_t window_ = 1;
  mutable std::mutex mutex_;
  mutable std::deque<std::pair<std::size_t, std::shared_ptr<const ParquetFile::RowGroup>>> row_groups_;
};

/// Rows that name their images, all in memory. Rows of the same image are its captions.
class PathsInParquet : public Dataset {
 public:
  explicit PathsInParquet(const std::vector<ParquetFile>& files) {
    std::vector<std::uint32_t> image_of_caption;
    for (const ParquetFile& file : files) {
      add(file, image_of_caption);
      images_of_.add(images_.size() - images_of_.end());
      origins_.push_back(file.path());
    }
    std::vector<std::size_t> captions(captions_.size());
    std::iota(captions.begin(), captions.end(), std::size_t{0});
    captions_of_ = Grouped(captions, image_of_caption, images_.size());
  }

  std::size_t size() const override { return images_.size(); }

  Sample get(std::size_t index) const override {
    const fs::path& origin = origins_[images_of_.range_containing(index)];
    Sample sample;
    sample.key = resolve_image(origin, std::string(images_[index])).string();
    std::vector<std::string> captions;
    for (const std::size_t caption : captions_of_[index]) captions.emplace_back(captions_[caption]);
    if (captions.empty()) fail("{}: {} has no caption", origin.string(), images_[index]);
    sample.captions = std::move(captions);
    sample.image = read_regular_file(sample.key, max_image_bytes);
    return sample;
  }

  void for_each_caption(const std::function<void(std::string_view)>& visit) const override {
    for (std::size_t caption = 0; caption < captions_.size(); ++caption) visit(captions_[caption]);
  }

 private:
  void add(const ParquetFile& file, std::vector<std::uint32_t>& image_of_caption) {
    constexpr std::size_t overhead_per_text = 64;  // bytes of bookkeeping in the tables
    const auto limit = static_cast<std::size_t>(max_unpacked_bytes(file.size()));
    std::size_t taken = 0;
    std::unordered_map<std::string, std::uint32_t> known;
    for (int group = 0; group < file.row_groups(); ++group) {
      const auto rows = file.read(group);
      file.guarded([&] {
        for (std::int64_t row = 0; row < std::min(rows.images->length(), rows.captions->length()); ++row) {
          const Cell path = cell_at(*rows.images, row), texts = cell_at(*rows.captions, row);
          const auto image = bytes_at(path.array, path.row);
          if (!image || image->empty()) fail("a row has no image");
          const auto [found, is_new] =
              known.try_emplace(std::string(*image), static_cast<std::uint32_t>(images_.size()));
          if (is_new) images_.add(*image);
          taken += image->size() + overhead_per_text;
          for (const std::string& caption : captions_at(texts.array, texts.row)) {
            image_of_caption.push_back(found->second);
            captions_.add(caption);
            taken += caption.size() + overhead_per_text;
          }
          if (taken > limit) fail("the paths and captions of its rows take more than {} bytes", limit);
        }
      });
    }
  }

  std::vector<fs::path> origins_;
  Ranges images_of_;  ///< of each file
  StringTable images_, captions_;
  Grouped captions_of_;  ///< of each image
};

}  // namespace

std::unique_ptr<Dataset> open_parquet(const std::vector<fs::path>& paths) {
  std::vector<ParquetFile> files(paths.begin(), paths.end());
  const auto first = std::find_if(files.begin(), files.end(), [](const ParquetFile& file) { return file.has_rows(); });
  if (first == files.end()) fail("{}: has no rows", paths.front().string());
  std::unique_ptr<Dataset> data;
  if (first->images_are_paths())
    data = std::make_unique<PathsInParquet>(files);
  else
    data = std::make_unique<ImagesInParquet>(std::move(files));
  if (data->size() == 0) fail("{}: has no rows", paths.front().string());
  return data;
}

}  // namespace gondola

#else

namespace gondola {

std::unique_ptr<Dataset> open_parquet(const std::vector<std::filesystem::path>& paths) {
  fail("{}: this build reads no Parquet (pip install pyarrow into .venv and build again)", paths.front().string());
}

}  // namespace gondola

#endif
