#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace gondola {

/// Learns byte-pair merges (Sennrich et al. 2016, on bytes) from a corpus, cleaned and split as ClipTokenizer does it,
/// so that ClipTokenizer::from_merges(result) has at most `vocab_size` tokens. Ties go to the pair that sorts first:
/// the result depends on the corpus alone. `next` yields one text after the other and false at the end.
std::vector<std::string> train_bpe(const std::function<bool(std::string_view& text)>& next, int vocab_size);

}  // namespace gondola
