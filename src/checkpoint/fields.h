#pragma once

#include <array>
#include <initializer_list>
#include <set>
#include <string>

#include "base/json.h"

namespace gondola {

/// The fields of one JSON object in a configuration, each checked when it is read. A null field counts as absent.
/// Remembers which fields it was asked for, so that refuse_unknown finds the others.
class Fields {
 public:
  Fields(const Json& object, std::string origin);

  bool has(const char* key) const {
    asked_.insert(key);
    return object_.contains(key) && !object_[key].is_null();
  }
  int integer(const char* key, int fallback) const;
  double number(const char* key, double fallback) const;
  bool boolean(const char* key, bool fallback) const;
  std::string string(const char* key, const std::string& fallback) const;
  /// Three numbers.
  std::array<float, 3> channels(const char* key, const std::array<float, 3>& fallback) const;
  /// Three numbers above 0.
  std::array<float, 3> standard_deviations(const char* key, const std::array<float, 3>& fallback) const;
  Fields object(const char* key) const;
  const Json& operator[](const char* key) const { return object_[key]; }

  /// Throws Error that calls the field unsupported and shows its value.
  [[noreturn]] void refuse(const std::string& key, const std::string& why) const;
  /// Refuses each field that is set to anything but false, 0 or null, which have no effect.
  void refuse_set(std::initializer_list<const char*> keys, const std::string& why) const;
  /// Takes these fields for known, whatever they hold.
  void ignore(std::initializer_list<const char*> keys) const { asked_.insert(keys.begin(), keys.end()); }
  /// Refuses every field that was neither asked for nor ignored: to be called last.
  void refuse_unknown() const;

 private:
  const Json& object_;
  std::string origin_;
  mutable std::set<std::string> asked_;
};

}  // namespace gondola
