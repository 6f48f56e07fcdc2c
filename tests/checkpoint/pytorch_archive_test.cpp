// Against torch.save and torch.jit.save (tests/reference/pytorch_archive.py).
#include "checkpoint/pytorch_archive.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>

#include "base/error.h"
#include "base/json.h"
#include "checkpoint/pickle.h"
#include "tests/support/files.h"
#include "tests/support/mutate.h"

namespace gondola {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

class Archives : public testing::TestWithParam<const char*> {
 protected:
  std::filesystem::path path() const { return test::golden("checkpoint") / GetParam(); }
};

TEST_P(Archives, HaveTheTensorsThatPyTorchSaved) {
  const Json expected = Json::parse(read_file(test::golden("checkpoint") / "tensors.json")).at("files").at(GetParam());
  const PytorchArchive archive = read_pytorch_archive(path());
  EXPECT_EQ(archive.torch_script, std::string(GetParam()) == "scripted.pt" || std::string(GetParam()) == "traced.pt");
  EXPECT_EQ(archive.tensors.size(), expected.size());
  for (const auto& [name, description] : expected.items()) {
    ASSERT_TRUE(archive.tensors.contains(name)) << name;
    const Tensor& tensor = archive.tensors.at(name);
    EXPECT_EQ(gondola::name(tensor.type), description.at("dtype").get<std::string>()) << name;
    EXPECT_EQ(tensor.shape, description.at("shape").get<std::vector<std::int64_t>>()) << name;
    EXPECT_EQ(to_floats(tensor), description.at("values").get<std::vector<float>>()) << name;
  }
}

TEST_P(Archives, CorruptFilesGiveAnErrorOrTensors) {
  const std::string good = read_file(path());
  const test::TemporaryFolder folder;
  const auto damaged = folder.path() / "damaged.pt";
  int read = 0;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    std::ofstream(damaged, std::ios::binary) << test::mutate(good, i);
    try {
      for (const auto& [name, tensor] : read_pytorch_archive(damaged).tensors)
        ASSERT_EQ(to_floats(tensor).size(), static_cast<std::size_t>(tensor.elements()));
      ++read;
    } catch (const Error&) {  // is what is expected
    }
  }
  EXPECT_TRUE(read > 20 && read < 2000) << read;
}

INSTANTIATE_TEST_SUITE_P(Files, Archives, testing::Values("state_dict.pt", "training.pt", "scripted.pt", "traced.pt"),
                         [](const auto& parameter) {
                           const std::string name = parameter.param;
                           return name.substr(0, name.find('.'));
                         });

TEST(PytorchArchive, RunsNothing) {
  std::filesystem::remove("/tmp/gondola-was-here");
  EXPECT_THROW(read_pytorch_archive(test::golden("checkpoint") / "malice.pt"), Error);  // a call is no tensor
  EXPECT_FALSE(std::filesystem::exists("/tmp/gondola-was-here"));
}

TEST(PytorchArchive, SaysWhatAFileIsNot) {
  const test::TemporaryFolder folder;
  std::ofstream(folder.path() / "old.pt") << "\x80\x02\x8a\nl\xfc\x9c";
  EXPECT_THAT([&] { read_pytorch_archive(folder.path() / "old.pt"); }, ThrowsMessage<Error>(HasSubstr("PyTorch 1.6")));
  EXPECT_THROW(read_pytorch_archive(folder.path() / "missing.pt"), Error);
}

TEST(PytorchArchive, RefusesToDoEndlessWorkForASmallFile) {
  const auto refused = [](const char* file, const char* why) {
    EXPECT_THAT([&] { read_pytorch_archive(test::golden("checkpoint") / file); }, ThrowsMessage<Error>(HasSubstr(why)));
  };
  refused("shared_modules.pt", "too many attributes");
  refused("many_copies.pt", "copy the same storage too often");
  refused("empty_but_huge.pt", "too large");
  refused("long_name.pt", "more than 1024 bytes");
}

/// Each would take memory that grows faster than the pickle does.
TEST(Pickle, RefusesToMultiplyWhatItHolds) {
  const auto refused = [](const std::string& pickle, const char* why) {
    EXPECT_THAT([&] { Pickle(std::as_bytes(std::span(pickle)), "bomb"); }, ThrowsMessage<Error>(HasSubstr(why)));
  };
  std::string doubling = "\x80\x04\x8c\x02xx";  // the name of a global becomes module and name of the next
  for (int i = 0; i < 60; ++i) doubling += "2\x93";
  refused(doubling + ".", "a global without a name");

  std::string calls = "\x80\x04(" + std::string(100'000, 'N') + "tq\x01";  // one tuple, the arguments of many calls
  for (int i = 0; i < 100'000; ++i) calls += "Nh\x01R";
  refused(calls + ".", "too many arguments");

  refused("\x80\x04" + std::string(10'000'000, 'N') + ".", "more values than any model");
}

TEST(Pickle, CorruptPicklesGiveAnErrorOrAValue) {
  // {"a": [1, 2.5, None, True], "b": ("x", b"y")} in protocol 4.
  constexpr char pickled[] =
      "\x80\x04\x95\x2c\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01"
      "a\x94]\x94(K\x01G@\x04\x00\x00\x00\x00\x00\x00N\x88"
      "e\x8c"
      "\x01"
      "b\x94\x8c\x01x\x94"
      "C\x01y\x94\x86\x94u.";
  const std::string good(pickled, sizeof pickled - 1);
  const auto bytes_of = [](const std::string& text) { return std::as_bytes(std::span(text)); };
  const Pickle pickle(bytes_of(good), "good");
  ASSERT_EQ(pickle.root().entries.size(), 2u);
  EXPECT_EQ(pickle.root().entries[0].second->items[1]->real, 2.5);
  int read = 0;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    const std::string damaged = test::mutate(good, i);
    try {
      const Pickle value(bytes_of(damaged), "damaged");
      ++read;
    } catch (const Error&) {  // is what is expected
    }
  }
  EXPECT_GT(read, 100);
}

}  // namespace
}  // namespace gondola
