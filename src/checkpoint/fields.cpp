#include "checkpoint/fields.h"

#include <algorithm>

#include "base/error.h"

namespace gondola {

Fields::Fields(const Json& object, std::string origin) : object_(object), origin_(std::move(origin)) {
  if (!object.is_object()) fail("{}: expected an object, found {}", origin_, object.dump().substr(0, 80));
}

int Fields::integer(const char* key, int fallback) const {
  if (!has(key)) return fallback;
  const Json& value = object_[key];
  if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<std::uint64_t>() > INT32_MAX) ||
      value.get<std::int64_t>() < 0)
    fail("{}: {} is {}, expected a non-negative integer", origin_, key, value.dump());
  return value.get<int>();
}

double Fields::number(const char* key, double fallback) const {
  if (!has(key)) return fallback;
  if (!object_[key].is_number()) fail("{}: {} is {}, expected a number", origin_, key, object_[key].dump());
  return object_[key].get<double>();
}

bool Fields::boolean(const char* key, bool fallback) const {
  if (!has(key)) return fallback;
  if (!object_[key].is_boolean()) fail("{}: {} is {}, expected true or false", origin_, key, object_[key].dump());
  return object_[key].get<bool>();
}

std::string Fields::string(const char* key, const std::string& fallback) const {
  if (!has(key)) return fallback;
  if (!object_[key].is_string()) fail("{}: {} is {}, expected a string", origin_, key, object_[key].dump());
  return object_[key].get<std::string>();
}

std::array<float, 3> Fields::channels(const char* key, const std::array<float, 3>& fallback) const {
  if (!has(key)) return fallback;
  const Json& value = object_[key];
  if (!value.is_array() || value.size() != 3 ||
      !std::all_of(value.begin(), value.end(), [](const Json& item) { return item.is_number(); }))
    fail("{}: {} is {}, expected three numbers", origin_, key, value.dump());
  return {value[0].get<float>(), value[1].get<float>(), value[2].get<float>()};
}

std::array<float, 3> Fields::standard_deviations(const char* key, const std::array<float, 3>& fallback) const {
  const std::array<float, 3> values = channels(key, fallback);
  if (!std::all_of(values.begin(), values.end(), [](float value) { return value > 0; })) refuse(key, "must be above 0");
  return values;
}

Fields Fields::object(const char* key) const {
  if (!has(key)) fail("{}: has no {}", origin_, key);
  return Fields(object_[key], origin_ + ": " + key);
}

void Fields::refuse(const std::string& key, const std::string& why) const {
  fail("{}: {} {}: {}", origin_, key, object_.contains(key) ? object_[key].dump().substr(0, 80) : "", why);
}

void Fields::refuse_set(std::initializer_list<const char*> keys, const std::string& why) const {
  for (const char* key : keys)
    if (has(key) && object_[key] != false && object_[key] != 0) refuse(key, why);
}

void Fields::refuse_unknown() const {
  for (const auto& item : object_.items())
    if (!asked_.contains(item.key())) refuse(item.key(), "an unknown field, which may change the result");
}

}  // namespace gondola
