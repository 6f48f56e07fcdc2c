#pragma once

#include <initializer_list>
#include <string>

#include "base/json.h"

namespace gondola {

/// The fields of one JSON object in a configuration, each checked when it is read. A null field counts as absent.
class Fields {
 public:
  Fields(const Json& object, std::string origin);

  bool has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }
  int integer(const char* key, int otherwise) const;
  double number(const char* key, double otherwise) const;
  bool boolean(const char* key, bool otherwise) const;
  std::string string(const char* key, const std::string& otherwise) const;
  /// Three numbers.
  std::array<float, 3> channels(const char* key, const std::array<float, 3>& otherwise) const;
  /// Three numbers above 0.
  std::array<float, 3> deviations(const char* key, const std::array<float, 3>& otherwise) const;
  Fields object(const char* key) const;
  const Json& operator[](const char* key) const { return object_[key]; }

  /// Throws Error that calls the field unsupported and shows its value.
  [[noreturn]] void refuse(const std::string& key, const std::string& why) const;
  /// Refuses each field that is set to anything but false, 0 or null, which have no effect.
  void refuse_set(std::initializer_list<const char*> keys, const std::string& why) const;
  /// Refuses every field that is not in one of the lists.
  void refuse_others(std::initializer_list<std::initializer_list<const char*>> known) const;

 private:
  const Json& object_;
  std::string origin_;
};

}  // namespace gondola
