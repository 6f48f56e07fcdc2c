#include "data/csv.h"

#include <algorithm>

#include "base/error.h"

namespace gondola {

std::string CsvReader::place_of(std::size_t offset) const {
  const auto end = text_.begin() + static_cast<std::ptrdiff_t>(offset);
  return fmt::format("{}: line {}", origin_, 1 + std::count(text_.begin(), end, '\n'));
}

bool CsvReader::next(std::vector<std::string>& fields) {
  fields.clear();
  while (position_ < text_.size() && at_line_end()) ++position_;
  if (position_ == text_.size()) return false;
  row_offset_ = position_;
  for (;;) {
    std::string& field = fields.emplace_back();
    if (position_ < text_.size() && text_[position_] == '"') read_quoted(field);
    const std::size_t start = position_;  // after a closing quote as well, as Python's csv reads it
    while (position_ < text_.size() && text_[position_] != separator_ && !at_line_end()) ++position_;
    field.append(text_.substr(start, position_ - start));
    if (position_ == text_.size() || at_line_end()) return true;
    ++position_;  // the separator
  }
}

void CsvReader::read_quoted(std::string& field) {
  const std::size_t opening = position_++;
  for (;;) {
    const std::size_t quote = text_.find('"', position_);
    if (quote == std::string_view::npos) fail("{}: a quote is not closed", place_of(opening));
    field.append(text_.substr(position_, quote - position_));
    position_ = quote + 1;
    if (position_ == text_.size() || text_[position_] != '"') return;
    field += '"';
    ++position_;
  }
}

}  // namespace gondola
