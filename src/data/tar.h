#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/file.h"

namespace gondola {

struct TarMember {
  std::string name;
  std::uint64_t begin = 0;  ///< offset of its first header
  std::uint64_t data = 0;   ///< offset of its bytes
  std::uint64_t size = 0;   ///< number of its bytes, which lie inside the file
};

/// Walks the regular files of a tar archive by its headers: POSIX ustar and pax, GNU long names and binary sizes, and
/// the older form without a magic. Nothing is extracted; folders and links are skipped.
class TarReader {
 public:
  /// Starts at `offset`, where a header must be. `file` must outlive the reader.
  explicit TarReader(const RandomAccessFile& file, std::uint64_t offset = 0) : file_(file), position_(offset) {}

  /// The next regular file; false at the end of the archive. Throws Error for a header whose checksum or size is wrong.
  bool next(TarMember& member);

 private:
  using Header = std::array<char, 512>;
  bool read_header(Header& header);
  std::uint64_t size_field(const Header& header) const;
  std::string read_extension(std::uint64_t size) const;

  const RandomAccessFile& file_;
  std::uint64_t position_;
};

}  // namespace gondola
