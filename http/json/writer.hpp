#pragma once

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace nanobox::http::json {

/// Writes JSON text. Strings that are not UTF-8 get U+FFFD for each wrong byte, numbers that are not finite are null:
/// the output is always valid.
class Writer {
public:
  Writer& begin_object();
  Writer& end_object();
  Writer& begin_array();
  Writer& end_array();
  Writer& key(std::string_view name);
  Writer& value(std::string_view text);
  Writer& value(const char* text) { return value(std::string_view(text)); }
  Writer& value(const std::string& text) { return value(std::string_view(text)); }
  Writer& value(bool yes);
  Writer& value(double number);
  template <std::signed_integral T>
  Writer& value(T number) {
    return write_signed(number);
  }
  template <std::unsigned_integral T>
  requires(!std::same_as<T, bool>) Writer& value(T number) { return write_unsigned(number); }
  Writer& null();
  /// Text that is JSON already.
  Writer& raw(std::string_view json);
  template <class T>
  Writer& value(const std::optional<T>& maybe) {
    return maybe ? value(*maybe) : null();
  }
  /// `key` and `value` in one.
  template <class T>
  Writer& field(std::string_view name, const T& what) {
    return key(name).value(what);
  }
  Writer& null_field(std::string_view name) { return key(name).null(); }
  Writer& raw_field(std::string_view name, std::string_view json) { return key(name).raw(json); }

  /// The text so far; whole once every object and array is closed.
  std::string take() const;

private:
  Writer& write_signed(std::int64_t number);
  Writer& write_unsigned(std::uint64_t number);

  rapidjson::StringBuffer buffer_;
  rapidjson::Writer<rapidjson::StringBuffer> writer_{buffer_};
};

}  // namespace nanobox::http::json
