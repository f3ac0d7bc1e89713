#pragma once

#include <rapidjson/document.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"

namespace nanobox::http::json {

/// What is wrong with a body: all of it, not only the first. Form (unknown, wrong type, missing) outweighs value.
class Complaints {
public:
  void unknown(std::string pointer, std::string detail);
  void wrong_type(std::string pointer, std::string detail);
  void missing(std::string pointer);
  void invalid(std::string pointer, std::string detail);

  bool empty() const { return fields_.empty(); }
  /// Nothing, or one error with `fields`: unknown_field, wrong_type (400), missing_field or invalid_value (422).
  Result<void> result() const;

private:
  void add(ErrorCode code, std::string pointer, std::string detail);
  ErrorCode code_ = ErrorCode::none_reserved;
  std::vector<FieldError> fields_;
};

/// Reads the fields of one object. Each getter marks its field as known; `finish` refuses the rest. A field that is
/// null counts as absent. Values refer to the document, which must outlive the reader.
class ObjectReader {
public:
  ObjectReader(const rapidjson::Value& object, Complaints& complaints, std::string pointer = {});

  struct TextRule {
    std::size_t min_bytes = 0;
    std::size_t max_bytes = 1 << 20;
    bool allow_nul = false;
  };
  std::optional<std::string> text(std::string_view name, TextRule rule);
  std::optional<std::string> text(std::string_view name);
  std::string required_text(std::string_view name, TextRule rule);
  std::string required_text(std::string_view name);
  /// One of `choices`.
  std::optional<std::string> choice(std::string_view name, std::initializer_list<std::string_view> choices);
  /// A whole number within bounds; "must be MIN to MAX" otherwise.
  std::optional<std::int64_t> integer(std::string_view name, std::int64_t min, std::int64_t max);
  std::optional<double> number(std::string_view name, double min, double max);
  std::optional<bool> boolean(std::string_view name);
  std::optional<std::vector<std::string>> texts(std::string_view name, std::size_t max_items);
  std::optional<std::map<std::string, std::string>> text_map(std::string_view name, std::size_t max_items);
  /// A nested object, read by `read` and then finished. @returns whether it was there
  bool object(std::string_view name, const std::function<void(ObjectReader&)>& read);
  /// The raw value, or nullptr where absent or null.
  const rapidjson::Value* raw(std::string_view name);
  bool has(std::string_view name) const;

  /// Refuses every field that nobody asked for, naming the nearest one that exists.
  void finish();

  Complaints& complaints() { return complaints_; }
  std::string pointer_to(std::string_view name) const;

private:
  const rapidjson::Value* find(std::string_view name);

  const rapidjson::Value& object_;
  Complaints& complaints_;
  std::string pointer_;
  std::vector<std::string> known_;
};

}  // namespace nanobox::http::json
