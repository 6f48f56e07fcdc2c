// Against torch.save and torch.jit.save (tests/reference/pytorch_archive.py).
#include "checkpoint/pytorch_archive.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <fstream>

#include "base/error.h"
#include "base/json.h"
#include "checkpoint/pickle.h"
#include "checkpoint/zip_archive.h"
#include "tests/support/files.h"
#include "tests/support/mutate.h"

namespace gondola {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

/// The archive with the four bytes at `field` of every entry in its directory replaced.
std::string with_field(std::string archive, std::size_t field, const char (&bytes)[5]) {
  constexpr std::size_t record = 46;
  for (std::size_t at = archive.find("PK\1\2"); at != std::string::npos; at = archive.find("PK\1\2", at + record))
    archive.replace(at + field, 4, bytes, 4);
  return archive;
}

constexpr std::size_t crc_field = 16, size_field = 24;

/// As torch.save leaves it after torch.serialization.set_crc32_options(False).
std::string without_crc(const std::string& archive) {
  return with_field(archive, crc_field, "\0\0\0\0");
}

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
  const std::string good = without_crc(read_file(path()));  // a CRC would let no damage through
  const test::TemporaryFolder folder;
  const auto damaged = folder.path() / "damaged.pt";
  int read = 0;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    std::ofstream(damaged, std::ios::binary) << test::mutate(good, i);
    try {
      for (const auto& [name, tensor] : read_pytorch_archive(damaged).tensors)
        ASSERT_EQ(to_floats(tensor).size(), static_cast<std::size_t>(tensor.elements()));
      ++read;
    } catch (const Error&) {  // expected
    }
  }
  EXPECT_TRUE(read > 20 && read < 2000) << read;
}

INSTANTIATE_TEST_SUITE_P(Files, Archives,
                         testing::Values("state_dict.pt", "training.pt", "general.pt", "scripted.pt", "traced.pt"),
                         [](const auto& parameter) {
                           const std::string name = parameter.param;
                           return name.substr(0, name.find('.'));
                         });

TEST(PytorchArchive, ExecutesNoCode) {
  const test::TemporaryFolder folder;
  std::filesystem::current_path(folder.path());                                         // where the command would write
  EXPECT_THROW(read_pytorch_archive(test::golden("checkpoint") / "malice.pt"), Error);  // a call is not a tensor
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  std::filesystem::current_path("/");
}

TEST(PytorchArchive, ExplainsWhyItCannotReadAFile) {
  const test::TemporaryFolder folder;
  std::ofstream(folder.path() / "old.pt") << "\x80\x02\x8a\nl\xfc\x9c";
  EXPECT_THAT([&] { read_pytorch_archive(folder.path() / "old.pt"); }, ThrowsMessage<Error>(HasSubstr("PyTorch 1.6")));
  EXPECT_THROW(read_pytorch_archive(folder.path() / "missing.pt"), Error);
  EXPECT_THAT([] { read_pytorch_archive(test::golden("checkpoint") / "malice.pt"); },
              ThrowsMessage<Error>(HasSubstr("holds no tensors; its keys are w")));
}

TEST(PytorchArchive, RefusesToDoEndlessWorkForASmallFile) {
  const auto refused = [](const char* file, const char* why) {
    EXPECT_THAT([&] { read_pytorch_archive(test::golden("checkpoint") / file); }, ThrowsMessage<Error>(HasSubstr(why)));
  };
  refused("shared_modules.pt", "too many attributes");
  refused("many_copies.pt", "share the same storage too often");
  refused("many_views.pt", "share the same storage too often");
  refused("empty_but_huge.pt", "too large");
  refused("long_name.pt", "more than 1024 bytes");
}

TEST(PytorchArchive, AcceptsMissingChecksumsButNotWrongOnes) {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "renamed.pt";
  std::string archive = read_file(test::golden("checkpoint") / "state_dict.pt");
  archive.replace(archive.find("parameter"), 9, "qarameter");
  test::write(file, archive);
  EXPECT_THAT([&] { read_pytorch_archive(file); }, ThrowsMessage<Error>(HasSubstr("data.pkl is damaged")));
  test::write(file, without_crc(archive));
  EXPECT_TRUE(read_pytorch_archive(file).tensors.contains("qarameter"));
}

TEST(ZipArchive, ChecksDeflatedEntries) {
  const test::TemporaryFolder folder;
  const std::string good = read_file(test::golden("checkpoint") / "scripted.pt");
  ZipArchive archive(test::write(folder.path() / "good.zip", good));
  const auto names = archive.names();
  const auto code = std::ranges::find_if(names, [](const std::string& name) { return name.ends_with(".py"); });
  ASSERT_TRUE(code != names.end());
  EXPECT_FALSE(archive.read(*code).bytes.empty());
  EXPECT_NO_THROW(archive.read("scripted/data.pkl", /*check_stored=*/true));

  ZipArchive other_crc(test::write(folder.path() / "crc.zip", with_field(good, crc_field, "abcd")));
  EXPECT_THAT([&] { other_crc.read(*code); }, ThrowsMessage<Error>(HasSubstr("is damaged")));
  EXPECT_NO_THROW(other_crc.read("scripted/data.pkl"));
  EXPECT_THROW(other_crc.read("scripted/data.pkl", /*check_stored=*/true), Error);

  // It claims to be 33 MiB.
  ZipArchive large(test::write(folder.path() / "large.zip", with_field(good, size_field, "\0\0\x10\2")));
  EXPECT_THAT([&] { large.read(*code); }, ThrowsMessage<Error>(HasSubstr("compressed in an unsupported way")));
}

/// Each would take memory that grows faster than the pickle, or than the file that the pickle was deflated to.
TEST(Pickle, RefusesPicklesThatExpandTooMuch) {
  const auto refused = [](const std::string& pickle, const char* why) {
    EXPECT_THAT([&] { Pickle(std::as_bytes(std::span(pickle)), "bomb"); }, ThrowsMessage<Error>(HasSubstr(why)));
  };
  const char* too_much = "more data than any model";
  const auto repeated = [](const std::string& opcodes, int times) {
    std::string pickle;
    for (int i = 0; i < times; ++i) pickle += opcodes;
    return pickle;
  };
  std::string doubling = "\x80\x04\x8c\x02xx";  // the name of a global becomes module and name of the next
  for (int i = 0; i < 60; ++i) doubling += "2\x93";
  refused(doubling + ".", "a global without a name");

  std::string calls = "\x80\x04(" + std::string(100'000, 'N') + "tq\x01";  // one tuple, the arguments of many calls
  for (int i = 0; i < 100'000; ++i) calls += "Nh\x01R";
  refused(calls + ".", too_much);

  refused("\x80\x04" + std::string(10'000'000, 'N') + ".", too_much);
  refused("\x80\x04]" + std::string(2'000'000, '\x94') + ".", too_much);  // the same list in the memo
  const auto text_of = [](char letter, char memo) {
    return std::string("X\0\1\0\0", 5) + std::string(256, letter) + "q" + memo + "0";
  };
  const std::string globals = repeated("h\1h\2\2230", 300'000), objects = repeated("h\1h\2R0", 300'000);
  refused("\x80\x04" + text_of('a', 1) + text_of('b', 2) + globals + "N.", too_much);
  refused("\200\4ca\nb\nq\1(" + std::string(64, 'N') + "tq\2" + objects + "N.", too_much);
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
  ASSERT_EQ(pickle.root().entries[0].second->items.size(), 4u);
  EXPECT_EQ(pickle.root().entries[0].second->items[0]->integer, 1);
  EXPECT_EQ(pickle.root().entries[0].second->items[1]->kind, PickleValue::Kind::real);
  int read = 0;
  for (std::uint64_t i = 0; i < 20'000; ++i) {
    const std::string damaged = test::mutate(good, i);
    try {
      const Pickle value(bytes_of(damaged), "damaged");
      ++read;
    } catch (const Error&) {  // expected
    }
  }
  EXPECT_GT(read, 100);
}

TEST(PytorchArchive, RefusesOtherByteOrdersAndTensorsBeyondTheirStorage) {
  const test::TemporaryFolder folder;
  const std::string good = without_crc(read_file(test::golden("checkpoint") / "state_dict.pt"));
  const auto refuses = [&](std::string_view before, std::string_view after, const char* why) {
    std::string archive = good;
    archive.replace(archive.find(before), before.size(), after);
    const auto file = test::write(folder.path() / "x.pt", archive);
    EXPECT_THAT([&] { read_pytorch_archive(file); }, ThrowsMessage<Error>(HasSubstr(why)));
  };
  refuses("little", "bigger", "big-endian");
  refuses({"QK\0))", 5}, {"QK\1))", 5}, "scalar: it reaches beyond its storage");  // by one
}

TEST(Pickle, ReadsTwoByteIntegersAsUnsigned) {
  const std::string bytes("\x80\x02M\x00\xc1.", 6);
  EXPECT_EQ(Pickle(std::as_bytes(std::span(bytes)), "p").root().integer, 49408);
}

}  // namespace
}  // namespace gondola
