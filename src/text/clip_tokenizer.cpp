#include "text/clip_tokenizer.h"

#include <algorithm>
#include <array>
#include <map>
#include <queue>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "text/byte_alphabet.h"
#include "text/clean_text.h"
#include "text/vocabulary_files.h"

namespace gondola {
namespace {

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
}

}  // namespace

struct ClipTokenizer::Tables {
  struct Merge {
    std::int32_t rank = 0, token = 0;
  };

  std::vector<std::string> tokens;  // by id; "" where a vocabulary skips an id
  std::vector<std::string> merges;  // by rank
  std::array<std::int32_t, 256> bytes, last_bytes;
  std::unordered_map<std::uint64_t, Merge> merge_of;
  std::int32_t start_id = 0, end_id = 0;
  std::map<std::string, std::int32_t> added;

  explicit Tables(Vocabulary vocabulary);
  void encode_word(std::string_view word, std::vector<std::int32_t>& ids) const;
};

ClipTokenizer::Tables::Tables(Vocabulary vocabulary)
    : merges(std::move(vocabulary.merges)), added(std::move(vocabulary.added)) {
  const auto& ids = vocabulary.ids;
  const auto id_of = [&](const std::string& token) {
    const auto found = ids.find(token);
    if (found == ids.end()) fail("{}: the vocabulary has no token \"{}\"", vocabulary.origin, token);
    return found->second;
  };
  // Some ids may be unused: half of them, or most of OpenAI's in a vocabulary that was cut down.
  const std::size_t limit = 2 * ids.size() + (1 << 16);
  for (const auto& [token, id] : ids) {
    const auto at = static_cast<std::size_t>(id);
    if (at >= limit)
      fail("{}: the token \"{}\" has the id {} among {} tokens", vocabulary.origin, token, id, ids.size());
    if (at >= tokens.size()) tokens.resize(at + 1);
    std::string& place = tokens[at];
    if (!place.empty())
      fail("{}: the tokens \"{}\" and \"{}\" have the same id {}", vocabulary.origin, place, token, id);
    place = token;
  }
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const std::string& letter = byte_alphabet().letters[byte];
    bytes[byte] = id_of(letter);
    last_bytes[byte] = id_of(letter + end_of_word);
  }
  start_id = id_of(start_of_text);
  end_id = id_of(end_of_text);
  merge_of.reserve(merges.size());
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const std::string& merge = merges[rank];
    const std::size_t space = merge.find(' ');
    if (space == std::string::npos || merge.find(' ', space + 1) != std::string::npos)
      fail("{}: merge {} is \"{}\", expected two tokens", vocabulary.origin, rank, merge);
    const std::string left = merge.substr(0, space), right = merge.substr(space + 1);
    merge_of.try_emplace(pair_key(id_of(left), id_of(right)),
                         Merge{static_cast<std::int32_t>(rank), id_of(left + right)});
  }
}

/// Repeatedly merges the pair of lowest rank, all its occurrences from left to right, until no pair is left. A heap of
/// candidate positions keeps long words from taking quadratic time.
void ClipTokenizer::Tables::encode_word(std::string_view word, std::vector<std::int32_t>& ids) const {
  struct Candidate {
    std::int32_t rank;
    std::size_t at;
    std::int32_t left, right;
    bool operator>(const Candidate& other) const { return std::tie(rank, at) > std::tie(other.rank, other.at); }
  };
  constexpr std::int32_t merged_away = -1;
  const std::size_t size = word.size();
  std::vector<std::int32_t> symbols(size);
  std::vector<std::size_t> next(size), previous(size);
  for (std::size_t i = 0; i < size; ++i) {
    const auto byte = static_cast<unsigned char>(word[i]);
    symbols[i] = i + 1 == size ? last_bytes[byte] : bytes[byte];
    next[i] = i + 1;
    previous[i] = i - 1;  // wraps around at 0, where it is not used
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  std::vector<Candidate> created;  // by the current rank's merges; held back until all of these are done
  const auto consider = [&](std::size_t at) {
    if (next[at] == size) return;
    const std::int32_t left = symbols[at], right = symbols[next[at]];
    const auto found = merge_of.find(pair_key(left, right));
    if (found != merge_of.end()) created.push_back({found->second.rank, at, left, right});
  };
  for (std::size_t i = 0; i < size; ++i) consider(i);
  for (std::int32_t rank = -1; !candidates.empty() || !created.empty();) {
    if (candidates.empty() || candidates.top().rank != rank) {
      for (const Candidate& candidate : created) candidates.push(candidate);
      created.clear();
    }
    const Candidate best = candidates.top();
    candidates.pop();
    rank = best.rank;
    const std::size_t at = best.at;
    if (symbols[at] != best.left || next[at] == size || symbols[next[at]] != best.right) continue;  // merged meanwhile
    const std::size_t second = next[at];
    symbols[at] = merge_of.at(pair_key(best.left, best.right)).token;
    symbols[second] = merged_away;
    next[at] = next[second];
    if (next[at] != size) previous[next[at]] = at;
    if (at != 0) consider(previous[at]);
    consider(at);
  }
  for (std::size_t i = 0; i < size; i = next[i]) ids.push_back(symbols[i]);
}

ClipTokenizer::ClipTokenizer(std::unique_ptr<const Tables> tables) : tables_(std::move(tables)) {}
ClipTokenizer::~ClipTokenizer() = default;
ClipTokenizer::ClipTokenizer(ClipTokenizer&&) noexcept = default;
ClipTokenizer& ClipTokenizer::operator=(ClipTokenizer&&) noexcept = default;

ClipTokenizer ClipTokenizer::load(const std::filesystem::path& path) {
  return ClipTokenizer(std::make_unique<const Tables>(read_vocabulary(path)));
}

ClipTokenizer ClipTokenizer::from_merges(const std::vector<std::string>& merges) {
  return ClipTokenizer(std::make_unique<const Tables>(vocabulary_from_merges(merges, "merges")));
}

std::vector<std::int32_t> ClipTokenizer::encode(std::string_view text) const {
  for (const auto& [token, id] : tables_->added)
    if (text.find(token) != std::string_view::npos)
      fail("the token \"{}\", which was added to the vocabulary, is not supported: \"{}\"", token,
           replace_invalid_utf8(text.substr(0, 60)));
  const std::string cleaned = clean_text(text);
  std::vector<std::int32_t> ids;
  for (std::string_view word : split_words(cleaned)) {
    if (word == start_of_text) {
      ids.push_back(tables_->start_id);
    } else if (word == end_of_text) {
      ids.push_back(tables_->end_id);
    } else {
      tables_->encode_word(word, ids);
    }
  }
  return ids;
}

ClipTokenizer::Encoded ClipTokenizer::encode(std::string_view text, int context_length, Overflow overflow) const {
  Encoded encoded{encode(text), false};
  std::vector<std::int32_t>& ids = encoded.ids;
  ids.insert(ids.begin(), tables_->start_id);
  ids.push_back(tables_->end_id);
  const auto limit = static_cast<std::size_t>(context_length);
  if (ids.size() <= limit) return encoded;
  if (overflow == Overflow::error) {
    const std::string valid = replace_invalid_utf8(text), start = first_code_points(valid, 60);
    fail("a text of {} tokens, start and end included, does not fit the context of {} unless it is truncated: \"{}\"",
         ids.size(), limit, start + (start.size() < valid.size() ? "…" : ""));
  }
  ids.resize(limit);
  ids.back() = tables_->end_id;
  encoded.truncated = true;
  return encoded;
}

std::vector<std::int32_t> ClipTokenizer::encode_padded(std::string_view text, int context_length, std::int32_t pad,
                                                       Overflow overflow) const {
  std::vector<std::int32_t> ids = encode(text, context_length, overflow).ids;
  ids.resize(static_cast<std::size_t>(context_length), pad);
  return ids;
}

const std::string& ClipTokenizer::token(std::int32_t id) const {
  if (id < 0 || id >= size()) fail("token {} is not in the vocabulary of {} tokens", id, size());
  return tables_->tokens[static_cast<std::size_t>(id)];
}

int ClipTokenizer::size() const {
  return static_cast<int>(tables_->tokens.size());
}
std::int32_t ClipTokenizer::start_id() const {
  return tables_->start_id;
}
std::int32_t ClipTokenizer::end_id() const {
  return tables_->end_id;
}

std::uint64_t ClipTokenizer::hash_of_tokens() const {
  Hash hash;
  for (const std::string& token : tables_->tokens) hash.add(token + '\n');
  return hash.value();
}

void ClipTokenizer::save(const std::filesystem::path& folder) const {
  nlohmann::ordered_json vocabulary = nlohmann::ordered_json::object();
  auto& entries = vocabulary.get_ref<nlohmann::ordered_json::object_t&>();
  for (int id = 0; id < size(); ++id)
    if (!token(id).empty()) entries.emplace_back(token(id), id);  // operator[] would search all entries
  write_file_atomically(folder / "vocab.json", vocabulary.dump());
  std::string merges = "#version: 0.2\n";
  for (const std::string& merge : tables_->merges) merges += merge + "\n";
  if (!tables_->added.empty()) write_file_atomically(folder / "added_tokens.json", Json(tables_->added).dump());
  write_file_atomically(folder / "merges.txt", merges);  // last: it completes the vocabulary
}

}  // namespace gondola
