#include "http/json/reader.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "http/problem.hpp"

namespace nanobox::http::json {
namespace {

// More of them help nobody, and a request with a million unknown fields must not get a huge answer.
constexpr std::size_t field_limit = 32;

std::string_view text_of(const rapidjson::Value& value) {
  return {value.GetString(), value.GetStringLength()};
}

std::string escaped(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == '~')
      out += "~0";
    else if (c == '/')
      out += "~1";
    else
      out += c;
  }
  return out;
}

std::size_t distance(std::string_view left, std::string_view right) {
  std::vector<std::size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < left.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < right.size(); ++j) {
      const auto above = row[j + 1];
      row[j + 1] = std::min({above + 1, row[j] + 1, diagonal + (left[i] == right[j] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

int rank(ErrorCode code) {
  return http_status(code).code == 400 ? 1 : 0;
}

}  // namespace

void Complaints::add(ErrorCode code, std::string pointer, std::string detail) {
  if (code_ == ErrorCode::none_reserved || rank(code) > rank(code_)) code_ = code;
  if (fields_.size() < field_limit) fields_.push_back({std::move(pointer), std::move(detail)});
}

void Complaints::unknown(std::string pointer, std::string detail) {
  add(ErrorCode::unknown_field, std::move(pointer), std::move(detail));
}

void Complaints::wrong_type(std::string pointer, std::string detail) {
  add(ErrorCode::wrong_type, std::move(pointer), std::move(detail));
}

void Complaints::missing(std::string pointer) {
  add(ErrorCode::missing_field, std::move(pointer), "is required");
}

void Complaints::invalid(std::string pointer, std::string detail) {
  add(ErrorCode::invalid_value, std::move(pointer), std::move(detail));
}

Result<void> Complaints::result() const {
  if (fields_.empty()) return {};
  Error error{.code = code_, .attempted = "read body", .subject = {}, .reason = {}, .mend = {}};
  error.reason = fields_.front().pointer + " " + fields_.front().detail;
  if (fields_.size() > 1) error.reason += ", and " + std::to_string(fields_.size() - 1) + " more (see errors)";
  error.fields = fields_;
  return fail(std::move(error));
}

ObjectReader::ObjectReader(const rapidjson::Value& object, Complaints& complaints, std::string pointer)
    : object_(object), complaints_(complaints), pointer_(std::move(pointer)) {}

std::string ObjectReader::pointer_to(std::string_view name) const {
  return pointer_ + "/" + escaped(name);
}

const rapidjson::Value* ObjectReader::find(std::string_view name) {
  known_.emplace_back(name);
  const auto found = object_.FindMember(
      rapidjson::Value(rapidjson::StringRef(name.data(), static_cast<rapidjson::SizeType>(name.size()))));
  return found == object_.MemberEnd() || found->value.IsNull() ? nullptr : &found->value;
}

const rapidjson::Value* ObjectReader::raw(std::string_view name) {
  return find(name);
}

bool ObjectReader::has(std::string_view name) const {
  const auto found = object_.FindMember(
      rapidjson::Value(rapidjson::StringRef(name.data(), static_cast<rapidjson::SizeType>(name.size()))));
  return found != object_.MemberEnd() && !found->value.IsNull();
}

std::optional<std::string> ObjectReader::text(std::string_view name) {
  return text(name, TextRule{});
}

std::optional<std::string> ObjectReader::text(std::string_view name, TextRule rule) {
  const auto* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->IsString()) {
    complaints_.wrong_type(pointer_to(name), "must be a string");
    return std::nullopt;
  }
  const auto text = text_of(*value);
  if (text.size() < rule.min_bytes)
    complaints_.invalid(pointer_to(name), rule.min_bytes == 1
                                              ? "must not be empty"
                                              : "must have at least " + std::to_string(rule.min_bytes) + " bytes");
  else if (text.size() > rule.max_bytes)
    complaints_.invalid(pointer_to(name), "must have at most " + std::to_string(rule.max_bytes) + " bytes");
  else if (!rule.allow_nul && text.find('\0') != std::string_view::npos)
    complaints_.invalid(pointer_to(name), "must not contain a NUL character");
  else
    return std::string(text);
  return std::nullopt;
}

std::string ObjectReader::required_text(std::string_view name) {
  return required_text(name, TextRule{.min_bytes = 1});
}

std::string ObjectReader::required_text(std::string_view name, TextRule rule) {
  if (!has(name)) {
    find(name);
    complaints_.missing(pointer_to(name));
    return {};
  }
  return text(name, rule).value_or(std::string());
}

std::optional<std::string> ObjectReader::choice(std::string_view name,
                                                std::initializer_list<std::string_view> choices) {
  auto value = text(name);
  if (!value || std::ranges::find(choices, std::string_view(*value)) != choices.end()) return value;
  std::string all;
  for (const auto& each : choices) all += (all.empty() ? "'" : ", '") + std::string(each) + "'";
  complaints_.invalid(pointer_to(name), "must be one of " + all);
  return std::nullopt;
}

std::optional<std::int64_t> ObjectReader::integer(std::string_view name, std::int64_t min, std::int64_t max) {
  const auto* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->IsNumber()) {
    complaints_.wrong_type(pointer_to(name), "must be a whole number");
    return std::nullopt;
  }
  if (value->IsInt64() && value->GetInt64() >= min && value->GetInt64() <= max) return value->GetInt64();
  if (value->IsDouble() && std::abs(value->GetDouble()) < 9e15 && std::floor(value->GetDouble()) != value->GetDouble())
    complaints_.wrong_type(pointer_to(name), "must be a whole number");
  else if (value->IsDouble() && std::abs(value->GetDouble()) < 9e15)
    complaints_.wrong_type(pointer_to(name), "must be written without a fraction or exponent");
  else
    complaints_.invalid(pointer_to(name), "must be " + std::to_string(min) + " to " + std::to_string(max));
  return std::nullopt;
}

std::optional<double> ObjectReader::number(std::string_view name, double min, double max) {
  const auto* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->IsNumber()) {
    complaints_.wrong_type(pointer_to(name), "must be a number");
    return std::nullopt;
  }
  if (value->GetDouble() >= min && value->GetDouble() <= max) return value->GetDouble();
  complaints_.invalid(pointer_to(name), "must be " + std::to_string(min) + " to " + std::to_string(max));
  return std::nullopt;
}

std::optional<bool> ObjectReader::boolean(std::string_view name) {
  const auto* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->IsBool()) return value->GetBool();
  complaints_.wrong_type(pointer_to(name), "must be true or false");
  return std::nullopt;
}

std::optional<std::vector<std::string>> ObjectReader::texts(std::string_view name, std::size_t max_items) {
  const auto* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->IsArray()) {
    complaints_.wrong_type(pointer_to(name), "must be an array of strings");
    return std::nullopt;
  }
  if (value->Size() > max_items) {
    complaints_.invalid(pointer_to(name), "must have at most " + std::to_string(max_items) + " items");
    return std::nullopt;
  }
  std::vector<std::string> items;
  items.reserve(value->Size());
  for (rapidjson::SizeType i = 0; i < value->Size(); ++i) {
    const auto& item = (*value)[i];
    const auto pointer = [&] { return pointer_to(name) + "/" + std::to_string(i); };
    if (!item.IsString())
      complaints_.wrong_type(pointer(), "must be a string");
    else if (text_of(item).find('\0') != std::string_view::npos)
      complaints_.invalid(pointer(), "must not contain a NUL character");
    else
      items.emplace_back(text_of(item));
  }
  return items;
}

std::optional<std::map<std::string, std::string>> ObjectReader::text_map(std::string_view name, std::size_t max_items) {
  const auto* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->IsObject()) {
    complaints_.wrong_type(pointer_to(name), "must be an object of strings");
    return std::nullopt;
  }
  if (value->MemberCount() > max_items) {
    complaints_.invalid(pointer_to(name), "must have at most " + std::to_string(max_items) + " fields");
    return std::nullopt;
  }
  std::map<std::string, std::string> items;
  for (const auto& member : value->GetObject()) {
    const auto key = text_of(member.name);
    const auto pointer = [&] { return pointer_to(name) + "/" + escaped(key); };
    if (!member.value.IsString())
      complaints_.wrong_type(pointer(), "must be a string");
    else if (key.find('\0') != std::string_view::npos || text_of(member.value).find('\0') != std::string_view::npos)
      complaints_.invalid(pointer(), "must not contain a NUL character");
    else
      items.emplace(key, text_of(member.value));
  }
  return items;
}

bool ObjectReader::object(std::string_view name, const std::function<void(ObjectReader&)>& read) {
  const auto* value = find(name);
  if (value == nullptr) return false;
  if (!value->IsObject()) {
    complaints_.wrong_type(pointer_to(name), "must be an object");
    return false;
  }
  ObjectReader inner(*value, complaints_, pointer_to(name));
  read(inner);
  inner.finish();
  return true;
}

void ObjectReader::finish() {
  for (const auto& member : object_.GetObject()) {
    const auto name = text_of(member.name);
    if (std::ranges::find(known_, name) != known_.end()) continue;
    std::string detail = "is unknown";
    if (name.size() <= 64 && !known_.empty()) {
      const auto nearest =
          std::ranges::min_element(known_, {}, [&](const std::string& each) { return distance(each, name); });
      if (distance(*nearest, name) <= std::max<std::size_t>(2, nearest->size() / 3))
        detail += "; did you mean '" + *nearest + "'?";
    }
    complaints_.unknown(pointer_to(name), std::move(detail));
  }
}

}  // namespace nanobox::http::json
