#include "checkpoint/fields.h"

#include <algorithm>

#include "base/error.h"

namespace gondola {

Fields::Fields(const Json& object, std::string origin) : object_(object), origin_(std::move(origin)) {
  if (!object.is_object()) fail("{}: expected an object, found {}", origin_, object.dump().substr(0, 80));
}

int Fields::integer(const char* key, int otherwise) const {
  if (!has(key)) return otherwise;
  const Json& value = object_[key];
  if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<std::uint64_t>() > INT32_MAX) ||
      value.get<std::int64_t>() < 0)
    fail("{}: {} is {}, expected a non-negative integer", origin_, key, value.dump());
  return value.get<int>();
}

double Fields::number(const char* key, double otherwise) const {
  if (!has(key)) return otherwise;
  if (!object_[key].is_number()) fail("{}: {} is {}, expected a number", origin_, key, object_[key].dump());
  return object_[key].get<double>();
}

bool Fields::boolean(const char* key, bool otherwise) const {
  if (!has(key)) return otherwise;
  if (!object_[key].is_boolean()) fail("{}: {} is {}, expected true or false", origin_, key, object_[key].dump());
  return object_[key].get<bool>();
}

std::string Fields::string(const char* key, const std::string& otherwise) const {
  if (!has(key)) return otherwise;
  if (!object_[key].is_string()) fail("{}: {} is {}, expected a string", origin_, key, object_[key].dump());
  return object_[key].get<std::string>();
}

std::array<float, 3> Fields::channels(const char* key, const std::array<float, 3>& otherwise) const {
  if (!has(key)) return otherwise;
  const Json& value = object_[key];
  if (!value.is_array() || value.size() != 3 ||
      !std::all_of(value.begin(), value.end(), [](const Json& item) { return item.is_number(); }))
    fail("{}: {} is {}, expected three numbers", origin_, key, value.dump());
  return {value[0].get<float>(), value[1].get<float>(), value[2].get<float>()};
}

std::array<float, 3> Fields::deviations(const char* key, const std::array<float, 3>& otherwise) const {
  const std::array<float, 3> values = channels(key, otherwise);
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

void Fields::refuse_others(std::initializer_list<std::initializer_list<const char*>> known) const {
  for (const auto& item : object_.items()) {
    const bool is_known = std::any_of(known.begin(), known.end(), [&](const auto& keys) {
      return std::any_of(keys.begin(), keys.end(), [&](const char* key) { return item.key() == key; });
    });
    if (!is_known) refuse(item.key(), "an unknown field, which may change the result");
  }
}

}  // namespace gondola
