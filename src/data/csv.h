#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace gondola {

/// Reads delimited text row by row (RFC 4180): fields may be in double quotes, inside which separators and line breaks
/// are text and "" is a quote. Lines end in "\n", "\r\n" or "\r"; empty lines are skipped.
class CsvReader {
 public:
  /// `text` must outlive the reader; `origin` names it in messages; `offset` is where a row begins.
  CsvReader(std::string_view text, char separator, std::string origin, std::size_t offset = 0)
      : text_(text), separator_(separator), origin_(std::move(origin)), position_(offset) {}

  /// Reads the next row; false at the end. Throws Error for a quote that is not closed or is followed by text.
  bool next(std::vector<std::string>& fields);

  /// Where the row that next() returned begins.
  std::size_t row_offset() const { return row_offset_; }

  /// That row's place for messages: "data.csv: line 3".
  std::string place() const { return place_of(row_offset_); }

 private:
  void read_quoted(std::string& field);
  bool at_line_end() const { return text_[position_] == '\n' || text_[position_] == '\r'; }
  std::string place_of(std::size_t offset) const;

  std::string_view text_;
  char separator_;
  std::string origin_;
  std::size_t position_, row_offset_ = 0;
};

}  // namespace gondola
