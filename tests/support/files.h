#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/file.h"

namespace gondola::test {

/// A folder of this test's own, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "gondola-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Writes a file, in a folder that need not be there yet, and returns its path.
inline std::filesystem::path write(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

/// A golden file: tests/reference/golden/NAME.
inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(GONDOLA_SOURCE_DIR) / "tests" / "reference" / "golden" / name;
}

/// The larger data that some tests read (environment variable GONDOLA_TEST_DATA); empty when there is none.
inline std::filesystem::path test_data() {
  const char* folder = std::getenv("GONDOLA_TEST_DATA");
  return folder == nullptr ? std::filesystem::path() : std::filesystem::path(folder);
}

#define GONDOLA_NEEDS_TEST_DATA(folder)                                                                          \
  if (::gondola::test::test_data().empty() || !std::filesystem::exists(::gondola::test::test_data() / (folder))) \
  GTEST_SKIP() << "needs GONDOLA_TEST_DATA with the folder " << (folder)

/// A little-endian .npy file of fp32 or int32 values, converted to T.
template <class T>
struct NpyArray {
  std::vector<std::size_t> shape;
  std::vector<T> values;
};

template <class T>
NpyArray<T> read_npy(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  const std::size_t header_length = static_cast<unsigned char>(bytes.at(8)) | static_cast<unsigned char>(bytes.at(9))
                                                                                  << 8;
  const std::string header = bytes.substr(10, header_length);
  NpyArray<T> array;
  std::size_t count = 1;
  for (std::size_t at = header.find('(') + 1; header[at] != ')';) {
    if (header[at] < '0' || header[at] > '9') {
      ++at;
      continue;
    }
    std::size_t used = 0;
    array.shape.push_back(std::stoul(header.substr(at), &used));
    count *= array.shape.back();
    at += used;
  }
  const auto convert = [&]<class Stored>(Stored) {
    for (std::size_t i = 0; i < count; ++i) {
      Stored value;
      std::memcpy(&value, bytes.data() + 10 + header_length + i * sizeof value, sizeof value);
      array.values.push_back(static_cast<T>(value));
    }
  };
  if (header.find("'<f4'") != std::string::npos) {
    convert(float{});
  } else if (header.find("'<i4'") != std::string::npos) {
    convert(std::int32_t{});
  } else {
    throw std::runtime_error(path.string() + ": unexpected dtype " + header);
  }
  return array;
}

}  // namespace gondola::test
