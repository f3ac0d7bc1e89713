#include "http/json/writer.hpp"

#include <cmath>

#include "config/utf8.hpp"
#include "http/json/text.hpp"

namespace nanobox::http::json {

Writer& Writer::begin_object() {
  writer_.StartObject();
  return *this;
}

Writer& Writer::end_object() {
  writer_.EndObject();
  return *this;
}

Writer& Writer::begin_array() {
  writer_.StartArray();
  return *this;
}

Writer& Writer::end_array() {
  writer_.EndArray();
  return *this;
}

Writer& Writer::key(std::string_view name) {
  if (is_utf8(name)) {
    writer_.Key(name.data(), static_cast<rapidjson::SizeType>(name.size()));
  } else {
    const auto mended = to_utf8(name);
    writer_.Key(mended.data(), static_cast<rapidjson::SizeType>(mended.size()));
  }
  return *this;
}

Writer& Writer::value(std::string_view text) {
  if (is_utf8(text)) {
    writer_.String(text.empty() ? "" : text.data(), static_cast<rapidjson::SizeType>(text.size()));
  } else {
    const auto mended = to_utf8(text);
    writer_.String(mended.data(), static_cast<rapidjson::SizeType>(mended.size()));
  }
  return *this;
}

Writer& Writer::value(bool yes) {
  writer_.Bool(yes);
  return *this;
}

Writer& Writer::value(double number) {
  if (!std::isfinite(number)) return null();
  writer_.Double(number);
  return *this;
}

Writer& Writer::write_signed(std::int64_t number) {
  writer_.Int64(number);
  return *this;
}

Writer& Writer::write_unsigned(std::uint64_t number) {
  writer_.Uint64(number);
  return *this;
}

Writer& Writer::null() {
  writer_.Null();
  return *this;
}

Writer& Writer::raw(std::string_view json) {
  writer_.RawValue(json.data(), json.size(), rapidjson::kObjectType);
  return *this;
}

std::string Writer::take() const {
  return {buffer_.GetString(), buffer_.GetSize()};
}

}  // namespace nanobox::http::json
