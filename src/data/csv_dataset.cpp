#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/utf8.h"
#include "data/csv.h"
#include "data/ranges.h"
#include "data/sources.h"

namespace gondola {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

/// Rows of (image, caption). Only the offset of each row is kept, grouped by image in order of first appearance; the
/// text is read again from the mapped file.
class CsvDataset : public Dataset {
 public:
  CsvDataset(const fs::path& path, char separator) : file_(path), separator_(separator) {
    CsvReader rows = reader(text().starts_with(byte_order_mark) ? byte_order_mark.size() : 0);
    read_header(rows);
    group_rows(rows);
    if (size() == 0) fail("{}: has no rows", origin());
  }

  std::size_t size() const override { return rows_of_.count(); }

  Sample get(std::size_t index) const override {
    Sample sample;
    std::vector<std::string> captions;
    for (const std::size_t offset : rows_of_[index]) {
      std::vector<std::string> fields = row_at(offset);
      if (captions.empty()) sample.key = resolve_image(file_.path(), fields[image_column_]).string();
      captions.push_back(std::move(fields[caption_column_]));
    }
    sample.captions = std::move(captions);
    sample.image = read_regular_file(sample.key, max_image_bytes);
    return sample;
  }

  void for_each_caption(const std::function<void(std::string_view)>& visit) const override {
    for (const std::size_t offset : rows_of_.numbers()) visit(row_at(offset)[caption_column_]);
  }

 private:
  std::string origin() const { return file_.path().string(); }
  std::string_view text() const { return {reinterpret_cast<const char*>(file_.bytes().data()), file_.bytes().size()}; }
  CsvReader reader(std::size_t offset) const { return CsvReader(text(), separator_, origin(), offset); }

  void read_header(CsvReader& rows) {
    std::vector<std::string> names;
    if (!rows.next(names)) fail("{}: is empty, expected the columns image and caption", origin());
    const auto column = [&](std::string_view name) {
      const auto found = std::find(names.begin(), names.end(), name);
      if (found == names.end())
        fail("{}: no column {}: found {}, expected image and caption", origin(), name, fmt::join(names, ", "));
      return static_cast<std::size_t>(found - names.begin());
    };
    columns_ = names.size();
    image_column_ = column("image");
    caption_column_ = column("caption");
  }

  /// The next row's fields; empty at the end.
  std::vector<std::string> read_row(CsvReader& rows) const {
    std::vector<std::string> fields;
    if (rows.next(fields) && fields.size() != columns_)
      fail("{}: {} fields, expected {}", rows.place(), fields.size(), columns_);
    return fields;
  }

  /// The fields of the row at `offset`. The file may have been overwritten since it was opened.
  std::vector<std::string> row_at(std::size_t offset) const {
    CsvReader rows = reader(offset);
    std::vector<std::string> fields = read_row(rows);
    if (fields.empty()) fail("{}: has changed: no row at byte {}", origin(), offset);
    return fields;
  }

  void group_rows(CsvReader& rows) {
    std::unordered_map<std::string, std::uint32_t> groups;
    std::vector<std::uint32_t> group_of_row;
    std::vector<std::size_t> offsets;
    for (std::vector<std::string> fields = read_row(rows); !fields.empty(); fields = read_row(rows)) {
      if (fields[image_column_].empty()) fail("{}: no image", rows.place());
      if (!is_valid_utf8(fields[caption_column_])) fail("{}: the caption is not UTF-8", rows.place());
      const auto next_group = static_cast<std::uint32_t>(groups.size());
      group_of_row.push_back(groups.try_emplace(std::move(fields[image_column_]), next_group).first->second);
      offsets.push_back(rows.row_offset());
    }
    rows_of_ = Grouped(offsets, group_of_row, groups.size());
  }

  MappedFile file_;
  char separator_;
  std::size_t columns_ = 0, image_column_ = 0, caption_column_ = 0;
  Grouped rows_of_;  // offsets of each sample's rows in the file
};

}  // namespace

std::unique_ptr<Dataset> open_csv(const fs::path& path, char separator) {
  return std::make_unique<CsvDataset>(path, separator);
}

}  // namespace gondola
