#pragma once

#include <optional>

#include "tools/nanobox-inspect/style.hpp"
#include "tools/nanobox/command.hpp"

namespace nanobox::inspection {

/// What is drawn on: stdout.
struct Paper {
  Style style;
  bool is_terminal = false;
  std::size_t columns = 0;  ///< the terminal's, or what COLUMNS says; 0: whoever reads does not mind
  std::size_t rows = 24;
  /// For pictures, which need a width.
  std::size_t picture_columns() const { return columns == 0 ? 100 : columns; }
};
Paper paper_of(const cli::Session& session);

/// Lines as one text.
std::string joined(const std::vector<std::string>& lines);

/// The lines instead of what a terminal shows, the rest of it cleared.
std::string screenful(const std::vector<std::string>& lines);

/// Waits; a signal ends it. @errors cancelled
Result<void> wait_for(cli::ApiClient& client, std::chrono::milliseconds time);

}  // namespace nanobox::inspection
