#include "text/train_bpe.h"

#include <cstdint>
#include <map>
#include <queue>
#include <set>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/clean_text.h"

namespace gondola {
namespace {

using Symbol = std::uint32_t;
using Pair = std::pair<Symbol, Symbol>;

struct Word {
  std::vector<Symbol> symbols;
  std::int64_t count = 0;
};

/// The corpus as distinct words, with how often and where each pair of neighbours occurs in them.
class Corpus {
 public:
  void add(const std::string& word, std::int64_t count) {
    Word entry{{}, count};
    for (std::size_t i = 0; i < word.size(); ++i) {
      const std::string& letter = byte_alphabet().letters[static_cast<unsigned char>(word[i])];
      entry.symbols.push_back(symbol(i + 1 == word.size() ? letter + end_of_word : letter));
    }
    words_.push_back(std::move(entry));
    count_pairs(words_.size() - 1, +1);
  }

  /// Finds the most frequent pair; returns false when no two symbols are neighbours.
  bool best(Pair& pair) {
    while (!queue_.empty()) {
      const Candidate top = queue_.top();
      const auto found = pairs_.find(top.pair);
      const std::int64_t count = found == pairs_.end() ? 0 : found->second.count;
      if (count == top.count) {
        pair = top.pair;
        return true;
      }
      queue_.pop();  // stale: when the count changed, the new one was queued
    }
    return false;
  }

  std::string merge(const Pair& pair) {
    const Symbol merged = symbol(names_[pair.first] + names_[pair.second]);
    const std::set<std::size_t> words = std::move(pairs_.at(pair).words);
    for (std::size_t index : words) {
      count_pairs(index, -1);
      std::vector<Symbol>& symbols = words_[index].symbols;
      std::size_t kept = 0;
      for (std::size_t i = 0; i < symbols.size(); ++i) {
        const bool here = symbols[i] == pair.first && i + 1 < symbols.size() && symbols[i + 1] == pair.second;
        symbols[kept++] = here ? merged : symbols[i];
        if (here) ++i;
      }
      symbols.resize(kept);
      count_pairs(index, +1);
    }
    pairs_.erase(pair);
    return names_[pair.first] + " " + names_[pair.second];
  }

  void queue_changes() {
    for (const Pair& pair : changed_)
      if (const auto found = pairs_.find(pair); found != pairs_.end() && found->second.count > 0)
        queue_.push({found->second.count, names_[pair.first], names_[pair.second], pair});
    changed_.clear();
  }

 private:
  struct Candidate {
    std::int64_t count;
    std::string left, right;
    Pair pair;
    /// The larger count first; among equal counts, the pair that sorts first.
    bool operator<(const Candidate& other) const {
      return std::tie(count, other.left, other.right) < std::tie(other.count, left, right);
    }
  };
  struct Occurrences {
    std::int64_t count = 0;
    std::set<std::size_t> words;
  };

  Symbol symbol(const std::string& name) {
    const auto [found, is_new] = ids_.try_emplace(name, static_cast<Symbol>(names_.size()));
    if (is_new) names_.push_back(name);
    return found->second;
  }

  void count_pairs(std::size_t index, std::int64_t sign) {
    const Word& word = words_[index];
    for (std::size_t i = 0; i + 1 < word.symbols.size(); ++i) {
      const Pair pair{word.symbols[i], word.symbols[i + 1]};
      Occurrences& occurrences = pairs_[pair];
      occurrences.count += sign * word.count;
      if (sign > 0) occurrences.words.insert(index);
      changed_.insert(pair);
    }
  }

  std::vector<Word> words_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, Symbol> ids_;
  std::map<Pair, Occurrences> pairs_;
  std::set<Pair> changed_;
  std::priority_queue<Candidate> queue_;
};

}  // namespace

std::vector<std::string> train_bpe(
    const std::function<void(const std::function<void(std::string_view text)>& visit)>& for_each_text, int vocab_size) {
  if (vocab_size < min_vocab_size)
    fail("a byte-level vocabulary has at least {} tokens, {} were asked for", min_vocab_size, vocab_size);

  std::map<std::string, std::int64_t> counts;
  for_each_text([&](std::string_view text) {
    const std::string cleaned = clean_text(text);
    for (std::string_view word : split_words(cleaned))
      if (word != start_of_text && word != end_of_text) ++counts[std::string(word)];
  });
  Corpus corpus;
  for (const auto& [word, count] : counts) corpus.add(word, count);
  corpus.queue_changes();

  std::vector<std::string> merges;
  Pair pair;
  while (static_cast<int>(merges.size()) < vocab_size - min_vocab_size && corpus.best(pair)) {
    merges.push_back(corpus.merge(pair));
    corpus.queue_changes();
  }
  return merges;
}

}  // namespace gondola
