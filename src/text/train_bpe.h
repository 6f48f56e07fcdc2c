#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace gondola {

/// Tokens of a vocabulary without merges: bytes, bytes that end a word, start and end of text.
inline constexpr int min_vocab_size = 2 * 256 + 2;

/// Learns byte-pair merges (Sennrich et al. 2016, on bytes) from a corpus, cleaned and split as by ClipTokenizer, so
/// that ClipTokenizer::from_merges(result) has at most `vocab_size` tokens. Ties go to the pair that sorts first: the
/// result depends on the corpus alone. `for_each_text` calls `visit` with one text after the other; only their distinct
/// words are kept.
std::vector<std::string> train_bpe(
    const std::function<void(const std::function<void(std::string_view text)>& visit)>& for_each_text, int vocab_size);

}  // namespace gondola
