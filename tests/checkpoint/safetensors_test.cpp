#include "checkpoint/safetensors.h"

#include <gmock/gmock.h>

#include <cstring>
#include <fstream>

#include "base/error.h"
#include "tests/support/files.h"
#include "tests/support/mutate.h"

namespace gondola {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::string file_of(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + header + data;
}

class Safetensors : public testing::Test {
 protected:
  TensorMap read(const std::string& bytes) {
    std::ofstream(path(), std::ios::binary) << bytes;
    return read_safetensors(path());
  }
  std::filesystem::path path() const { return folder_.path() / "model.safetensors"; }
  void refuses(const std::string& bytes, const std::string& message) {
    EXPECT_THAT([&] { read(bytes); }, ThrowsMessage<Error>(HasSubstr(message))) << bytes.substr(8, 100);
  }

 private:
  test::TemporaryFolder folder_;
};

TEST_F(Safetensors, ReadsWhatTheFormatAllows) {
  const TensorMap tensors =
      read(file_of(R"({"__metadata__":{"format":"pt"},"b":{"dtype":"U8","shape":[2,1],"data_offsets":[4,6]},)"
                   R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                   R"("none":{"dtype":"F16","shape":[3,0],"data_offsets":[6,6]}}   )",
                   std::string("\0\0\x80\x3f\x07\x09", 6)));
  EXPECT_THAT(to_floats(tensors.at("a")), ElementsAre(1.0f));
  EXPECT_THAT(to_floats(tensors.at("b")), ElementsAre(7.0f, 9.0f));
  EXPECT_EQ(tensors.at("none").elements(), 0);
}

TEST_F(Safetensors, RefusesWhatTheFormatForbids) {
  refuses("", "too few");
  refuses(std::string("\xff\xff\xff\xff\xff\xff\xff\xff", 8) + "{}", "truncated");
  refuses(file_of("[]", ""), "'{'");
  refuses(file_of("{\"a\":", ""), "JSON");
  refuses(file_of(std::string("{}\0 ", 4), ""), "NUL");
  const auto entry = [](const std::string& fields) { return "{\"a\":{" + fields + "}}"; };
  const std::string data(8, '\0');
  refuses(file_of(entry(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])"), data), "[2]");
  refuses(file_of(entry(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), data), "bytes 8 to 0");
  refuses(file_of(entry(R"("dtype":"F32","shape":[4],"data_offsets":[0,16])"), data), "of 8");
  refuses(file_of(entry(R"("dtype":"F32","shape":[-1],"data_offsets":[0,8])"), data), "not a size");
  refuses(file_of(entry(R"("dtype":"F32","shape":[281474976710656,281474976710656],"data_offsets":[0,8])"), data),
          "too large");
  refuses(file_of(entry(R"("dtype":"U8","shape":[281474976710656,32768,0],"data_offsets":[0,0])"), data), "too large");
  refuses(file_of(entry(R"("dtype":"F9","shape":[2],"data_offsets":[0,8])"), data), "F9");
  refuses(file_of(entry(R"("dtype":"F32","shape":[2])"), data), "data_offsets");
  refuses(file_of(entry(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1)"), data), "\"x\"");
  refuses(file_of(entry(R"("dtype":"F32","shape":[1],"data_offsets":[0,4])"), data), "cover 4 of 8");
  refuses(file_of(entry(R"("dtype":"F32","shape":[1],"data_offsets":[4,8])"), data), "hole");
  refuses(
      file_of(
          R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
          data),
      "overlap");
  refuses(
      file_of(
          R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
          data),
      "twice");
}

TEST_F(Safetensors, WritesWhatItReads) {
  TensorMap tensors;
  tensors["w"] = make_tensor({2, 3}, {1, -2, 3.5f, 0, 1e-8f, 65504});
  tensors["h"] = convert(tensors["w"], DType::float16);
  tensors["b"] = convert(tensors["w"], DType::bfloat16);
  tensors["scalar"] = make_tensor({}, {4});
  write_safetensors(path(), tensors, {{"format", "pt"}});
  EXPECT_THAT(read_file(path()), HasSubstr(R"("__metadata__":{"format":"pt"})"));
  const TensorMap read = read_safetensors(path());
  ASSERT_EQ(read.size(), 4u);
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(read.at(name).shape, tensor.shape);
    EXPECT_EQ(to_floats(read.at(name)), to_floats(tensor)) << name;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(read.at(name).bytes.data()) % size_of(tensor.type), 0u) << name;
  }
  EXPECT_THAT(to_floats(tensors["b"]), ElementsAre(1.0f, -2.0f, 3.5f, 0.0f, 1.00117177e-08f, 65536.0f));
}

TEST_F(Safetensors, CorruptFilesGiveAnErrorOrTensors) {
  TensorMap tensors;
  for (int i = 0; i < 5; ++i) tensors["t" + std::to_string(i)] = make_tensor({i, 3}, std::vector<float>(3u * i));
  write_safetensors(path(), tensors, {{"a", "b"}});
  const std::string good = read_file(path());
  int readable = 0;
  for (std::uint64_t i = 0; i < 5000; ++i) {
    try {
      for (const auto& [name, tensor] : read(test::mutate(good, i)))
        ASSERT_EQ(to_floats(tensor).size(), static_cast<std::size_t>(tensor.elements()));
      ++readable;
    } catch (const Error&) {  // expected
    }
  }
  EXPECT_GT(readable, 100);  // damage to values leaves a file
}

}  // namespace
}  // namespace gondola
