#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nanobox::cli {

/// A table for people: columns as wide as their widest cell, the last one as long as it is.
class Table {
public:
  explicit Table(std::vector<std::string> head) : rows_{std::move(head)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.size() == 1; }
  std::string text() const;

private:
  std::vector<std::vector<std::string>> rows_;
};

/// Without control characters, which could rewrite the terminal.
std::string printable(std::string_view text);

/// How many columns UTF-8 text takes, one a code point.
std::size_t columns_of(std::string_view text);

/// "3m", "2h": how long ago an RFC 3339 time was; "" for none. In the future: "in 4m".
std::string age_text(std::string_view rfc3339);

/// "2026-01-02T03:04:05.000Z (3m ago)"; what is no RFC 3339 time as it is.
std::string moment_text(std::string_view rfc3339);

/// "850 ms", "3.1 s", "2m 05s".
std::string duration_text(std::int64_t milliseconds);

}  // namespace nanobox::cli
