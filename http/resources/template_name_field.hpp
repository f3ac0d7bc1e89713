#pragma once

#include <string>
#include <string_view>

#include "http/json/reader.hpp"

namespace nanobox::http {

inline bool is_template_name(std::string_view name) {
  if (name.empty() || name.size() > 63 || name.front() == '.' || name.front() == '-') return false;
  return name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789._-") == std::string_view::npos;
}

/// Reads the required field "name" by the contract's rule.
inline std::string read_template_name(json::ObjectReader& body) {
  auto name = body.required_text("name");
  if (!name.empty() && !is_template_name(name))
    body.complaints().invalid("/name",
                              "must be 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit");
  return name;
}

}  // namespace nanobox::http
