#pragma once

#include <string>
#include <string_view>

#include "config/error.hpp"

namespace nanobox {

/// An entry of `allow_domains`: `example.com` is exactly that name, `*.example.com` any name below it, not itself.
class NamePattern {
public:
  /// Reads letters, digits, '-' and '_' in labels of at most 63 bytes (RFC 1123 section 2.1), in any case, with or
  /// without the last dot.
  /// @errors invalid_value, with the pattern meant as the mend where one can be guessed
  static Result<NamePattern> parse(std::string_view text);

  /// @param name  lower case, without the last dot, as in DnsQuestion
  bool matches(std::string_view name) const;
  /// As it was written, in lower case and without the last dot.
  std::string text() const { return below_ ? "*" + name_ : name_; }
  bool operator==(const NamePattern&) const = default;

private:
  NamePattern(std::string name, bool below) : name_(std::move(name)), below_(below) {}

  std::string name_;  ///< with a dot before it where names below it are meant
  bool below_;
};

}  // namespace nanobox
