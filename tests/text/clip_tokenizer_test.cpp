// Compares with OpenAI's algorithm on ftfy, html and regex (tests/reference/text.py): 20,000 texts with a small
// vocabulary and, with GONDOLA_TEST_DATA, captions and prompts with OpenAI's.
#include "text/clip_tokenizer.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <zlib.h>

#include <fstream>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "tests/support/files.h"
#include "tests/support/mutate.h"
#include "text/byte_alphabet.h"
#include "text/clean_text.h"
#include "text/train_bpe.h"

namespace gondola {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

using Ids = std::vector<std::int32_t>;

std::vector<std::string> read_gzip_lines(const std::filesystem::path& path) {
  const std::unique_ptr<gzFile_s, decltype(&gzclose)> file(gzopen(path.c_str(), "rb"), &gzclose);
  std::vector<std::string> lines(1);
  for (int c; (c = gzgetc(file.get())) != -1;) {
    if (c == '\n')
      lines.emplace_back();
    else
      lines.back() += static_cast<char>(c);
  }
  lines.pop_back();
  return lines;
}

const ClipTokenizer& small_tokenizer() {
  static const ClipTokenizer tokenizer = ClipTokenizer::load(test::golden("text"));
  return tokenizer;
}

std::string tokens_of(const Ids& ids) {
  std::string words;
  for (std::int32_t id : ids) words += small_tokenizer().token(id) + " ";
  return words;
}

TEST(ClipTokenizer, AgreesWithOpenAIsAlgorithm) {
  const auto lines = read_gzip_lines(test::golden("text") / "strings.jsonl.gz");
  EXPECT_GE(lines.size(), 20'000u);
  int wrong = 0;
  for (const std::string& line : lines) {
    const Json pair = Json::parse(line);
    const Ids expected = pair[1].get<Ids>(), found = small_tokenizer().encode(pair[0].get<std::string>());
    if (found == expected) continue;
    if (++wrong <= 20)
      ADD_FAILURE() << pair[0] << "\n  expected " << tokens_of(expected) << "\n  found    " << tokens_of(found);
  }
  EXPECT_EQ(wrong, 0) << "of " << lines.size();
}

TEST(ClipTokenizer, ReplacesInvalidUtf8AsPythonDoes) {
  const auto path = test::golden("text") / "bytes.json";
  for (const Json& pair : parse_json(read_file(path), path.string())) {
    const std::string hex = pair[0].get<std::string>();
    std::string bytes;
    for (std::size_t i = 0; i < hex.size(); i += 2)
      bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    EXPECT_EQ(small_tokenizer().encode(bytes), pair[1].get<Ids>()) << hex;
  }
}

/// CRC-32 of the ids of every 1,000 texts.
std::vector<std::uint32_t> checksums(const ClipTokenizer& tokenizer, const std::vector<std::string>& texts) {
  std::vector<std::uint32_t> sums;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (i % 1000 == 0) sums.push_back(0);
    for (std::int32_t id : tokenizer.encode(texts[i]))
      sums.back() = static_cast<std::uint32_t>(crc32(sums.back(), reinterpret_cast<const Bytef*>(&id), sizeof id));
  }
  return sums;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> lines(1);
  for (char c : text) {
    if (c == '\n')
      lines.emplace_back();
    else
      lines.back() += c;
  }
  return lines;
}

TEST(ClipTokenizer, AgreesOnCaptionsAndPromptsWithOpenAIsVocabulary) {
  GONDOLA_NEEDS_TEST_DATA("openai-clip");
  const auto folder = test::test_data() / "openai-clip";
  const auto tokenizer = ClipTokenizer::load(folder / "bpe_simple_vocab_16e6.txt.gz");
  EXPECT_EQ(tokenizer.size(), 49408);
  const Json expected = Json::parse(read_file(test::golden("text") / "data.json"));
  const auto check = [&](const char* name, const std::vector<std::string>& texts) {
    EXPECT_EQ(checksums(tokenizer, texts), expected.at(name).get<std::vector<std::uint32_t>>()) << name;
  };
  check("prompts", split(read_file(folder / "prompts.md")));
  std::vector<std::string> prompts;
  const Json templates = Json::parse(read_file(folder / "imagenet_templates.json"));
  for (const Json& name : Json::parse(read_file(folder / "imagenet_classes.json")))
    for (const Json& item : templates) {
      std::string text = item.get<std::string>();
      prompts.push_back(text.replace(text.find("{}"), 2, name.get<std::string>()));
    }
  check("imagenet", prompts);
  if (std::filesystem::exists(test::test_data() / "flickr8k-1000"))
    check("flickr8k", split(read_file(test::test_data() / "flickr8k-1000" / "captions.csv")));
}

/// One of 65,536 pairs of letters, by number.
std::pair<std::string, std::string> pair(int number) {
  const auto& letters = byte_alphabet().letters;
  return {letters[static_cast<std::size_t>(number / 256)], letters[static_cast<std::size_t>(number % 256)]};
}

/// A vocabulary like OpenAI's: 50,000 merges of such pairs.
std::filesystem::path write_openai_vocabulary(const std::filesystem::path& folder) {
  const auto path = folder / "bpe_simple_vocab_16e6.txt.gz";
  const std::unique_ptr<gzFile_s, decltype(&gzclose)> file(gzopen(path.c_str(), "wb"), &gzclose);
  gzputs(file.get(), "\"bpe_simple_vocab_16e6.txt#version: 0.2\n");
  for (int i = 0; i < 50'000; ++i) gzputs(file.get(), (pair(i).first + " " + pair(i).second + "\n").c_str());
  return path;
}

/// OpenAI's file holds 262,144 merges, of which its models use the first 48,894 (openai/CLIP, simple_tokenizer.py).
TEST(ClipTokenizer, UsesTheFirstOfOpenAIsMerges) {
  const test::TemporaryFolder folder;
  const auto path = write_openai_vocabulary(folder.path());
  const auto tokenizer = ClipTokenizer::load(path);
  EXPECT_EQ(tokenizer.size(), 49408);
  EXPECT_EQ(tokenizer.token(512), pair(0).first + pair(0).second);
  EXPECT_EQ(tokenizer.token(49405), pair(48893).first + pair(48893).second);
  EXPECT_EQ(tokenizer.token(49406), "<|startoftext|>");
}

TEST(ClipTokenizer, SavesLargeVocabulariesInSubquadraticTime) {
  const test::TemporaryFolder folder;
  std::vector<std::string> merges;
  for (const char* end : {"", "</w>"})
    for (int i = 0; i < 65'536; ++i) merges.push_back(pair(i).first + " " + pair(i).second + end);
  ClipTokenizer::from_merges(merges).save(folder.path());
  EXPECT_EQ(ClipTokenizer::load(folder.path()).size(), 512 + 2 * 65'536 + 2);
}

/// Damaged files give an Error or a tokenizer, never a crash.
TEST(ClipTokenizer, SurvivesDamageToOpenAIsFile) {
  const test::TemporaryFolder folder;
  const auto path = write_openai_vocabulary(folder.path());
  const std::string whole = read_file(path);
  int refused = 0;
  for (std::uint64_t number = 0; number < 100; ++number) {
    test::write(path, test::mutate(whole, number));
    try {
      ClipTokenizer::load(path);
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 50);
}

TEST(ClipTokenizer, UnpacksNoMoreThanOpenAIsFileCouldHold) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "bomb.txt.gz";
  {
    const std::unique_ptr<gzFile_s, decltype(&gzclose)> file(gzopen(path.c_str(), "wb"), &gzclose);
    const std::string mebibyte(1 << 20, '\n');
    for (int i = 0; i < 17; ++i) gzwrite(file.get(), mebibyte.data(), static_cast<unsigned>(mebibyte.size()));
  }
  EXPECT_THAT([&] { ClipTokenizer::load(path); }, ThrowsMessage<Error>(HasSubstr("larger than 16777216 bytes")));
}

TEST(ClipTokenizer, ReadsTheSameVocabularyInEveryFormat) {
  const auto& tokenizer = small_tokenizer();
  const test::TemporaryFolder folder;
  tokenizer.save(folder.path());
  Json vocabulary = Json::parse(read_file(folder.path() / "vocab.json")), merges = Json::array();
  for (const std::string& line : read_lines(folder.path() / "merges.txt"))
    if (!line.starts_with("#")) merges.push_back(line);
  const auto reload = [&](const Json& json) {
    write_file_atomically(folder.path() / "tokenizer.json", json.dump());
    return ClipTokenizer::load(folder.path() / "tokenizer.json");
  };
  const Json model = {{"type", "BPE"}, {"end_of_word_suffix", "</w>"}, {"vocab", vocabulary}, {"merges", merges}};
  Json pairs = model;
  for (Json& merge : pairs["merges"]) {
    const std::string text = merge.get<std::string>();
    merge = {text.substr(0, text.find(' ')), text.substr(text.find(' ') + 1)};
  }
  const std::string text = "Latin small letters, 12 greek signs &amp; more";
  const Ids expected = tokenizer.encode(text);
  EXPECT_EQ(ClipTokenizer::load(folder.path()).encode(text), expected);
  EXPECT_EQ(ClipTokenizer::load(folder.path() / "vocab.json").encode(text), expected);
  EXPECT_EQ(reload({{"model", model}}).encode(text), expected);
  EXPECT_EQ(reload({{"model", pairs}}).encode(text), expected);
  EXPECT_THAT([&] { reload({{"model", {{"type", "WordPiece"}}}}); }, ThrowsMessage<Error>(HasSubstr("tokenizer.json")));
}

TEST(ClipTokenizer, CutsOrRefusesLongTextsAndPadsShortOnes) {
  const auto& tokenizer = small_tokenizer();
  const std::int32_t start = tokenizer.start_id(), end = tokenizer.end_id();
  const Ids words = tokenizer.encode("a b c");
  ASSERT_EQ(words.size(), 3u);
  EXPECT_THAT(tokenizer.encode("a b c", 5, Overflow::error).ids, ElementsAre(start, words[0], words[1], words[2], end));
  const auto cut = tokenizer.encode("a b c", 4, Overflow::truncate);
  EXPECT_THAT(cut.ids, ElementsAre(start, words[0], words[1], end));
  EXPECT_TRUE(cut.truncated);
  EXPECT_THAT([&] { tokenizer.encode("a b c", 4, Overflow::error); }, ThrowsMessage<Error>(HasSubstr("a b c")));
  EXPECT_THAT(tokenizer.encode_padded("a", 5, 7, Overflow::error), ElementsAre(start, words[0], end, 7, 7));
}

TEST(ClipTokenizer, NamesWhatIsWrongWithAVocabulary) {
  const test::TemporaryFolder folder;
  const auto refuses = [&](const std::string& vocab, const std::string& merges, const std::string& message) {
    write_file_atomically(folder.path() / "vocab.json", vocab);
    write_file_atomically(folder.path() / "merges.txt", merges);
    EXPECT_THAT([&] { ClipTokenizer::load(folder.path()); }, ThrowsMessage<Error>(HasSubstr(message))) << vocab;
  };
  const std::string good = read_file(test::golden("text") / "vocab.json");
  refuses("{}", "", "the vocabulary has no token");
  refuses("[1]", "", "not an object");
  refuses("{\"a\": -1}", "", "the id of token \"a\" is -1");
  refuses(good, "a b c\n", "expected two tokens");
  refuses(good, "zzz q\n", "no token \"zzz");
  EXPECT_THROW(ClipTokenizer::load(folder.path() / "missing"), Error);
}

/// transformers looks for added tokens before anything else; ignoring them would give other embeddings.
TEST(ClipTokenizer, RefusesTextsWithAddedTokens) {
  const test::TemporaryFolder folder;
  for (const char* file : {"vocab.json", "merges.txt"})
    std::filesystem::copy_file(test::golden("text") / file, folder.path() / file);
  const Json vocab = Json::parse(read_file(folder.path() / "vocab.json"));
  const ClipTokenizer plain = ClipTokenizer::load(folder.path());
  const Json added = {{"<|endoftext|>", vocab.at("<|endoftext|>")}, {"<cat-toy>", vocab.size()}, {"!", vocab.at("!")}};
  write_file_atomically(folder.path() / "added_tokens.json", added.dump());
  Json list = Json::array();
  for (const auto& [token, id] : added.items()) list.push_back({{"id", id}, {"content", token}});
  const Json tokenizer = {
      {"model", {{"type", "BPE"}, {"end_of_word_suffix", "</w>"}, {"vocab", vocab}, {"merges", Json::array()}}},
      {"added_tokens", list}};
  write_file_atomically(folder.path() / "tokenizer.json", tokenizer.dump());
  const test::TemporaryFolder saved;
  ClipTokenizer::load(folder.path()).save(saved.path());
  for (const auto& path : {folder.path(), folder.path() / "tokenizer.json", saved.path()}) {
    const ClipTokenizer loaded = ClipTokenizer::load(path);
    EXPECT_EQ(loaded.size(), plain.size());
    EXPECT_EQ(loaded.encode("!"), plain.encode("!")) << "a word that some pad with";
    EXPECT_THAT([&] { loaded.encode("a <cat-toy>"); }, ThrowsMessage<Error>(HasSubstr("\"<cat-toy>\"")));
  }
  write_file_atomically(folder.path() / "added_tokens.json", "[\"a\"]");
  EXPECT_THAT([&] { ClipTokenizer::load(folder.path()); }, ThrowsMessage<Error>(HasSubstr("added_tokens.json")));
}

TEST(ClipTokenizer, EncodesLongWordsInSubquadraticTime) {
  EXPECT_GT(small_tokenizer().encode(std::string(300'000, 'a')).size(), 1000u);
}

std::string repeated(const std::string& part, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += part;
  return text;
}

TEST(CleanText, SortsManyCombiningMarksQuickly) {
  const std::string acute = "\xcc\x81", cedilla = "\xcc\xa7";
  EXPECT_EQ(clean_text("a" + repeated(acute, 50'000) + repeated(cedilla, 50'000)),
            "\xc3\xa1" + repeated(cedilla, 50'000) + repeated(acute, 49'999));
}

/// Each pass of ftfy undoes one layer of damage.
TEST(CleanText, RepairsDeepDamageOnlyInShortTexts) {
  const auto escaped = [](int layers) { return "\xc3\xa9&" + repeated("amp;", layers); };
  const auto decoded = [](int layers) { return repeated("\xc3\x82", layers) + "\xc2\xa9"; };
  EXPECT_EQ(clean_text(escaped(200)), "\xc3\xa9&");
  EXPECT_EQ(clean_text(decoded(200)), "\xc2\xa9");
  for (const std::string& damaged : {escaped(30'000), decoded(30'000)})
    EXPECT_GT(clean_text(damaged).size(), damaged.size() / 2) << damaged.substr(0, 20);
}

TEST(TrainBpe, LearnsTheMergesOfAPlainImplementation) {
  const auto lines = read_lines(test::golden("text") / "corpus.txt");
  const auto merges = train_bpe(
      [&](const auto& visit) {
        for (const std::string& line : lines) visit(line);
      },
      512 + 1000 + 2);
  auto expected = read_lines(test::golden("text") / "merges.txt");
  expected.erase(expected.begin());
  EXPECT_EQ(merges, expected);
}

TEST(TrainBpe, StopsWhenNothingIsLeftToMerge) {
  const auto merges = train_bpe([](const auto& visit) { visit("aba"); }, 100'000);
  EXPECT_THAT(merges, ElementsAre("a b", "ab a</w>"));
  EXPECT_THROW(train_bpe([](const auto&) {}, 513), Error);
}

TEST(ClipTokenizer, CorruptTextsAndVocabulariesAreHandled) {
  const std::string text =
      "caf\xc3\xa9 \xe2\x80\x9cquotes\xe2\x80\x9d &eacute; \xf0\x9f\x90\x88 \xc3\x83\xc2\xa9 \x1b[31m <b>";
  for (std::uint64_t i = 0; i < 3000; ++i) EXPECT_NO_THROW(small_tokenizer().encode(test::mutate(text, i)));
  const test::TemporaryFolder folder;
  constexpr int merged = 20, letters = 512;  // few merges, so that most damage hits something else
  const Json all = Json::parse(read_file(test::golden("text") / "vocab.json"));
  Json tokens, pairs = Json::array(), added = Json::array();
  for (const auto& [token, id] : all.items())
    if (id < letters + merged) tokens[token] = id;
  std::string merges = "#version: 0.2\n";
  const auto lines = read_lines(test::golden("text") / "merges.txt");
  for (std::size_t i = 1; i <= merged; ++i) {
    merges += lines.at(i) + "\n";
    const std::size_t blank = lines[i].find(' ');  // pairs may be written in two ways
    pairs.push_back(i % 2 == 0 ? Json(lines[i]) : Json{lines[i].substr(0, blank), lines[i].substr(blank + 1)});
  }
  Json whole = tokens;
  for (const char* name : {"<|startoftext|>", "<|endoftext|>"}) {
    added.push_back({{"id", whole.size()}, {"content", name}});
    whole[name] = whole.size();
  }
  const std::string vocab = whole.dump();
  const std::string tokenizer = Json{
      {"model", {{"type", "BPE"}, {"end_of_word_suffix", "</w>"}, {"vocab", tokens}, {"merges", pairs}}},
      {"added_tokens", added}}.dump();
  const auto write = [&](const char* name, const std::string& bytes) {
    std::ofstream(folder.path() / name, std::ios::binary) << bytes;
  };
  std::map<std::string, int> loaded;
  for (std::uint64_t i = 0; i < 1500; ++i) {
    // Damages one file at a time, so that the reader of the other is reached.
    write("vocab.json", i % 2 == 0 ? test::mutate(vocab, i) : vocab);
    write("merges.txt", i % 2 == 1 ? test::mutate(merges, i) : merges);
    write("tokenizer.json", test::mutate(tokenizer, i));
    for (const char* file : {"vocab.json", "tokenizer.json"}) {
      try {
        ClipTokenizer::load(folder.path() / file).encode(text);
        ++loaded[file];
      } catch (const Error&) {  // expected
      }
    }
  }
  EXPECT_GT(loaded["vocab.json"], 20);
  EXPECT_GT(loaded["tokenizer.json"], 0);
}

TEST(ClipTokenizer, RefusesTwoTokensOfOneId) {
  const test::TemporaryFolder folder;
  Json vocab = Json::parse(read_file(test::golden("text") / "vocab.json"));
  vocab["zzzz"] = vocab.at("!");
  test::write(folder.path() / "vocab.json", vocab.dump());
  test::write(folder.path() / "merges.txt", "");
  EXPECT_THAT([&] { ClipTokenizer::load(folder.path()); }, ThrowsMessage<Error>(HasSubstr("have the same id")));
}

/// A token's id takes up room for all ids below it.
TEST(ClipTokenizer, AcceptsGapsInIdsButNotHugeOnes) {
  const test::TemporaryFolder folder;
  Json vocab = Json::parse(read_file(test::golden("text") / "vocab.json"));
  test::write(folder.path() / "merges.txt", "");
  const auto load_with = [&](int id) {
    vocab["zzzz"] = id;
    test::write(folder.path() / "vocab.json", vocab.dump());
    return ClipTokenizer::load(folder.path());
  };
  EXPECT_EQ(load_with(49'407).token(49'407), "zzzz") << "as of OpenAI's vocabulary, cut down";
  EXPECT_THAT([&] { load_with((1 << 24) - 1); },
              ThrowsMessage<Error>(HasSubstr("vocab.json: the token \"zzzz\" has the id 16777215 among")));
}

/// Reading a pipe would block.
TEST(ClipTokenizer, RefusesPipes) {
  for (const char* name : {"vocab.json", "merges.txt", "tokenizer.json", "vocabulary.txt.gz"}) {
    const test::TemporaryFolder folder;
    const auto pipe = folder.path() / name;
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    if (name == std::string("vocab.json")) test::write(folder.path() / "merges.txt", "");
    if (name == std::string("merges.txt")) test::write(folder.path() / "vocab.json", "{}");
    EXPECT_THAT([&] { ClipTokenizer::load(pipe.extension() == ".gz" ? pipe : folder.path()); },
                ThrowsMessage<Error>(HasSubstr(pipe.string() + ": is not a regular file")));
  }
}

TEST(ClipTokenizer, ReadsMergesWithWindowsLineEndings) {
  const test::TemporaryFolder folder;
  std::string merges;
  for (const std::string& line : read_lines(test::golden("text") / "merges.txt")) merges += line + "\r\n";
  test::write(folder.path() / "vocab.json", read_file(test::golden("text") / "vocab.json"));
  test::write(folder.path() / "merges.txt", merges);
  const std::string text = "Latin small letters, 12 greek signs";
  EXPECT_EQ(ClipTokenizer::load(folder.path()).encode(text), small_tokenizer().encode(text));
}

TEST(TrainBpe, LearnsNothingFromStartAndEndTokens) {
  EXPECT_THAT(train_bpe([](const auto& visit) { visit("<|endoftext|> aba <|startoftext|>"); }, 100'000),
              ElementsAre("a b", "ab a</w>"));
}

}  // namespace
}  // namespace gondola
