#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gondola {

/// A value in a pickle. Classes and functions are names, and a call is a value too: reading a pickle runs nothing.
struct PickleValue {
  enum class Kind { none, boolean, integer, real, text, bytes, tuple, list, dict, set, global, persistent, call };
  Kind kind = Kind::none;
  std::int64_t integer = 0;  ///< of a boolean or an integer (0 for one that needs more than 64 bits)
  std::string text;          ///< of text and bytes; of a global: "module name"
  /// Items of a tuple, list or set; of a persistent value, its id alone; of a call, the callee and then its arguments.
  std::vector<const PickleValue*> items;
  /// Entries of a dict, or those set on the object that a call returns.
  std::vector<std::pair<const PickleValue*, const PickleValue*>> entries;
  const PickleValue* state = nullptr;  ///< what BUILD passes to an object

  /// The "module name" of the global that this calls; empty unless it is such a call.
  std::string_view callee() const {
    if (kind != Kind::call || items[0]->kind != Kind::global) return {};
    return items[0]->text;
  }
};

/// The values of one pickle (protocols 2 to 5, the opcodes that Python writes for data). They refer to one another,
/// possibly in cycles, and take at most 256 MiB plus the pickle's own size. Throws Error whose message begins with
/// `origin`.
class Pickle {
 public:
  Pickle(std::span<const std::byte> bytes, const std::string& origin);
  const PickleValue& root() const { return *root_; }

 private:
  friend class Unpickler;
  std::deque<PickleValue> values_;
  const PickleValue* root_ = nullptr;
};

}  // namespace gondola
