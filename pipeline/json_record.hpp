#pragma once

#include <chrono>
#include <concepts>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "config/boxed.hpp"
#include "config/utf8.hpp"
#include "pipeline/json_text.hpp"

namespace nanobox {

// Strict records: a struct whose `fields(f, x)` calls f(key, member) for every member is written as a JSON object and
// read again exactly as it was. A member that is missing, of another type or out of range refuses the whole; members
// that nobody knows are passed over, so that a newer writer may say more.

/// Text above that is no record.
inline constexpr std::size_t kRecordTextMax = std::size_t{64} << 20;

template <class T, class Struct>
concept FieldsOf = std::same_as<std::remove_const_t<T>, Struct>;

class RecordWriter {
public:
  explicit RecordWriter(JsonWriter& json) : json_(json) {}

  template <class T>
  void operator()(std::string_view key, const T& member) {
    put(json_, key);
    write(member);
  }

  template <class T>
  void write(const T& value) {
    if constexpr (std::same_as<T, bool>) {
      json_.Bool(value);
    } else if constexpr (std::is_enum_v<T>) {
      write_text(to_string(value));
    } else if constexpr (std::unsigned_integral<T>) {
      json_.Uint64(value);
    } else if constexpr (std::signed_integral<T>) {
      json_.Int64(value);
    } else {
      json_.StartObject();
      fields(*this, value);
      json_.EndObject();
    }
  }
  void write(const std::string& value) { write_text(value); }
  void write(const std::filesystem::path& value) { write_text(value.native()); }
  void write(WallTime value) { json_.Int64(value.time_since_epoch().count()); }
  void write(PreciseTime value) { json_.Int64(value.time_since_epoch().count()); }
  template <class T>
  void write(const std::optional<T>& value) {
    if (value)
      write(*value);
    else
      json_.Null();
  }
  template <class T>
  void write(const Boxed<T>& value) {
    if (value)
      write(*value);
    else
      json_.Null();
  }
  template <class T>
  void write(const std::vector<T>& values) {
    json_.StartArray();
    for (const auto& value : values) write(value);
    json_.EndArray();
  }
  /// As pairs, for a key may be no UTF-8.
  void write(const std::map<std::string, std::string>& values) {
    json_.StartArray();
    for (const auto& [key, value] : values) {
      json_.StartArray();
      write_text(key);
      write_text(value);
      json_.EndArray();
    }
    json_.EndArray();
  }

private:
  /// Text that is no UTF-8, which JSON cannot hold, as the numbers of its bytes.
  void write_text(std::string_view text) {
    if (is_utf8(text)) {
      json_.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
      return;
    }
    json_.StartArray();
    for (const char byte : text) json_.Uint(static_cast<unsigned char>(byte));
    json_.EndArray();
  }

  JsonWriter& json_;
};

class RecordReader {
public:
  explicit RecordReader(const rapidjson::Value& object) : object_(object), whole_(object.IsObject()) {}

  /// Whether every member so far was there and right.
  bool whole() const { return whole_; }

  template <class T>
  void operator()(const char* key, T& member) {
    if (!whole_) return;
    const auto found = object_.FindMember(key);
    whole_ = found != object_.MemberEnd() && read(found->value, member);
  }

  template <class T>
  static bool read(const rapidjson::Value& json, T& into) {
    if constexpr (std::same_as<T, bool>) {
      if (!json.IsBool()) return false;
      into = json.GetBool();
      return true;
    } else if constexpr (std::is_enum_v<T>) {
      return read_enum(json, into);
    } else if constexpr (std::unsigned_integral<T>) {
      if (!json.IsUint64() || json.GetUint64() > std::numeric_limits<T>::max()) return false;
      into = static_cast<T>(json.GetUint64());
      return true;
    } else if constexpr (std::signed_integral<T>) {
      if (!json.IsInt64() || json.GetInt64() < std::numeric_limits<T>::min() ||
          json.GetInt64() > std::numeric_limits<T>::max())
        return false;
      into = static_cast<T>(json.GetInt64());
      return true;
    } else {
      RecordReader reader(json);
      if (reader.whole()) fields(reader, into);
      return reader.whole();
    }
  }
  static bool read(const rapidjson::Value& json, std::string& into) {
    if (json.IsString()) {
      into.assign(json.GetString(), json.GetStringLength());
      return true;
    }
    if (!json.IsArray()) return false;
    into.clear();
    for (const auto& byte : json.GetArray()) {
      if (!byte.IsUint() || byte.GetUint() > 255) return false;
      into.push_back(static_cast<char>(byte.GetUint()));
    }
    return true;
  }
  static bool read(const rapidjson::Value& json, std::filesystem::path& into) {
    std::string text;
    if (!read(json, text)) return false;
    into = std::move(text);
    return true;
  }
  static bool read(const rapidjson::Value& json, WallTime& into) {
    // The years 1 to 9999, what RFC 3339 can write.
    if (!json.IsInt64() || json.GetInt64() < -62'135'596'800'000 || json.GetInt64() > 253'402'300'799'999) return false;
    into = WallTime(std::chrono::milliseconds(json.GetInt64()));
    return true;
  }
  static bool read(const rapidjson::Value& json, PreciseTime& into) {
    if (!json.IsInt64() || json.GetInt64() < -62'135'596'800'000'000 || json.GetInt64() > 253'402'300'799'999'999)
      return false;
    into = PreciseTime(std::chrono::microseconds(json.GetInt64()));
    return true;
  }
  template <class T>
  static bool read(const rapidjson::Value& json, std::optional<T>& into) {
    if (json.IsNull()) {
      into.reset();
      return true;
    }
    // With a value: clang 14 takes a member's nested struct with defaults for not constructible without.
    return read(json, into.emplace(T{}));
  }
  template <class T>
  static bool read(const rapidjson::Value& json, Boxed<T>& into) {
    if (json.IsNull()) {
      into.reset();
      return true;
    }
    return read(json, into.emplace());
  }
  template <class T>
  static bool read(const rapidjson::Value& json, std::vector<T>& into) {
    if (!json.IsArray()) return false;
    into.clear();
    for (const auto& value : json.GetArray())
      if (!read(value, into.emplace_back())) return false;
    return true;
  }
  static bool read(const rapidjson::Value& json, std::map<std::string, std::string>& into) {
    if (!json.IsArray()) return false;
    into.clear();
    for (const auto& pair : json.GetArray()) {
      std::string key, value;
      if (!pair.IsArray() || pair.Size() != 2 || !read(pair[0], key) || !read(pair[1], value)) return false;
      if (!into.emplace(std::move(key), std::move(value)).second) return false;
    }
    return true;
  }

private:
  /// By name. None of ours begins at 0, which stands for nothing.
  template <class T>
  static bool read_enum(const rapidjson::Value& json, T& into) {
    static_assert(std::same_as<std::underlying_type_t<T>, std::uint8_t>);
    if (!json.IsString()) return false;
    const std::string_view name(json.GetString(), json.GetStringLength());
    if (name == "unknown") return false;  // what to_string says of any other value
    for (unsigned value = 1; value <= std::numeric_limits<std::uint8_t>::max(); ++value)
      if (to_string(static_cast<T>(value)) == name) {
        into = static_cast<T>(value);
        return true;
      }
    return false;
  }

  const rapidjson::Value& object_;
  bool whole_;
};

template <class T>
std::string write_fields(const T& value) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  RecordWriter(json).write(value);
  return {buffer.GetString(), buffer.GetSize()};
}

/// Nothing where the text is not exactly such a record.
template <class T>
std::optional<T> read_fields(std::string_view text) {
  if (text.size() > kRecordTextMax) return std::nullopt;
  rapidjson::Document json;
  json.Parse<rapidjson::kParseValidateEncodingFlag | rapidjson::kParseIterativeFlag>(text.data(), text.size());
  if (json.HasParseError()) return std::nullopt;
  std::optional<T> value(std::in_place);
  if (!RecordReader::read(json, *value)) return std::nullopt;
  return value;
}

}  // namespace nanobox
