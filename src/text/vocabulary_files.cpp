#include "text/vocabulary_files.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "text/byte_alphabet.h"

namespace gondola {
namespace {

using std::filesystem::path;

constexpr std::uint64_t max_bytes = 256 << 20;

/// The non-empty lines, the first `limit` of them.
std::vector<std::string> split_lines(std::string_view text, std::size_t limit = SIZE_MAX) {
  std::vector<std::string> lines;
  while (!text.empty() && lines.size() < limit) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) lines.emplace_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::int32_t to_id(const std::string& token, const Json& id, const std::string& origin) {
  constexpr std::uint64_t max_id = 1 << 24;
  if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= max_id)
    fail("{}: the id of token \"{}\" is {}", origin, token, id.dump());
  return id.get<std::int32_t>();
}

void read_ids(const Json& tokens, Vocabulary& vocabulary) {
  if (!tokens.is_object()) fail("{}: the vocabulary is not an object", vocabulary.origin);
  for (const auto& [token, id] : tokens.items()) vocabulary.ids[token] = to_id(token, id, vocabulary.origin);
}

/// A token that is a word of the vocabulary ("!", which some pad with) is read as that word, as in open_clip.
void add_token(const std::string& token, std::int32_t id, Vocabulary& vocabulary) {
  if (token == start_of_text || token == end_of_text)
    vocabulary.ids[token] = id;
  else if (!token.empty() && !vocabulary.ids.contains(token))
    vocabulary.added[token] = id;
}

Vocabulary read_vocab_and_merges(const path& vocab) {
  const path merges = vocab.parent_path() / "merges.txt";
  if (!path_exists(merges)) fail("{}: merges.txt is not beside it", vocab.string());
  Vocabulary vocabulary;
  vocabulary.origin = vocab.string();
  read_ids(parse_json(read_regular_file(vocab, max_bytes), vocab.string()), vocabulary);
  vocabulary.merges = split_lines(read_regular_file(merges, max_bytes));
  if (!vocabulary.merges.empty() && vocabulary.merges.front().starts_with("#version"))
    vocabulary.merges.erase(vocabulary.merges.begin());
  if (const path added = vocab.parent_path() / "added_tokens.json"; path_exists(added)) {
    const Json tokens = parse_json(read_regular_file(added, max_bytes), added.string());
    if (!tokens.is_object()) fail("{}: is not an object", added.string());
    for (const auto& [token, id] : tokens.items()) add_token(token, to_id(token, id, added.string()), vocabulary);
  }
  return vocabulary;
}

/// The format of Hugging Face's tokenizers library.
Vocabulary read_tokenizer_json(const path& file) {
  Vocabulary vocabulary;
  vocabulary.origin = file.string();
  const Json json = parse_json(read_regular_file(file, max_bytes), file.string());
  const auto member = [&](const Json& object, const char* key) -> const Json& {
    if (!object.is_object() || !object.contains(key)) fail("{}: has no \"{}\"", file.string(), key);
    return object.at(key);
  };
  const Json& model = member(json, "model");
  if (!model.is_object()) fail("{}: its model is no object", file.string());
  if (model.value("type", Json("BPE")) != "BPE" || model.value("end_of_word_suffix", Json()) != end_of_word)
    fail("{}: not a CLIP tokenizer: expected a BPE model whose words end with {}", file.string(), end_of_word);
  read_ids(member(model, "vocab"), vocabulary);
  const Json& merges = member(model, "merges");
  if (!merges.is_array()) fail("{}: merges is not a list", file.string());
  for (const Json& merge : merges) {
    if (merge.is_string()) {
      vocabulary.merges.push_back(merge.get<std::string>());
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      vocabulary.merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
    } else {
      fail("{}: the merge {} is not a pair", file.string(), merge.dump());
    }
  }
  if (json.contains("added_tokens") && json["added_tokens"].is_array())
    for (const Json& added : json["added_tokens"])
      if (added.is_object() && member(added, "content").is_string()) {
        const auto token = added["content"].get<std::string>();
        add_token(token, to_id(token, member(added, "id"), file.string()), vocabulary);
      }
  return vocabulary;
}

std::string read_gzip(const path& file) {
  check_regular_file(file);
  constexpr std::size_t limit = 16 << 20;  // OpenAI's has three million bytes
  const std::unique_ptr<gzFile_s, decltype(&gzclose)> input(gzopen(file.c_str(), "rb"), &gzclose);
  if (!input) fail("{}: cannot be opened", file.string());
  std::string text;
  std::array<char, 1 << 16> buffer;
  for (;;) {
    const int read = gzread(input.get(), buffer.data(), buffer.size());
    if (read < 0) fail("{}: not a valid gzip file", file.string());
    if (read == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(read));
    if (text.size() > limit) fail("{}: larger than {} bytes, unpacked", file.string(), limit);
  }
  int status = Z_OK;
  gzerror(input.get(), &status);
  if (status != Z_OK) fail("{}: truncated", file.string());
  return text;
}

/// OpenAI's file: a version line, then more merges than its models use.
Vocabulary read_openai(const path& file) {
  constexpr std::size_t used_merges = 49152 - 256 - 2;
  std::vector<std::string> lines = split_lines(read_gzip(file), used_merges + 1);
  if (lines.size() < used_merges + 1)
    fail("{}: has {} lines, expected at least {}", file.string(), lines.size(), used_merges + 1);
  return vocabulary_from_merges({lines.begin() + 1, lines.begin() + 1 + used_merges}, file.string());
}

}  // namespace

Vocabulary read_vocabulary(const path& path) {
  std::error_code unknown;
  if (std::filesystem::is_directory(path, unknown)) {
    if (path_exists(path / "vocab.json") && path_exists(path / "merges.txt"))
      return read_vocab_and_merges(path / "vocab.json");
    if (path_exists(path / "tokenizer.json")) return read_tokenizer_json(path / "tokenizer.json");
    fail("{}: has neither vocab.json with merges.txt nor tokenizer.json", path.string());
  }
  if (!path_exists(path)) fail("{}: no such vocabulary", path.string());
  if (path.extension() == ".gz") return read_openai(path);
  if (path.filename() == "vocab.json") return read_vocab_and_merges(path);
  if (path.extension() == ".json") return read_tokenizer_json(path);
  fail("{}: a vocabulary is a folder, vocab.json, tokenizer.json or OpenAI's .txt.gz", path.string());
}

Vocabulary vocabulary_from_merges(std::vector<std::string> merges, std::string origin) {
  Vocabulary vocabulary;
  const auto add = [&](const std::string& token) {
    vocabulary.ids.try_emplace(token, static_cast<std::int32_t>(vocabulary.ids.size()));
  };
  for (const char* suffix : {"", end_of_word})
    for (std::uint8_t byte : byte_alphabet().order) add(byte_alphabet().letters[byte] + suffix);
  for (const std::string& merge : merges) {
    std::string token = merge;
    std::erase(token, ' ');
    add(token);
  }
  add(start_of_text);
  add(end_of_text);
  vocabulary.merges = std::move(merges);
  vocabulary.origin = std::move(origin);
  return vocabulary;
}

}  // namespace gondola
