#include "tools/nanobox-inspect/paper.hpp"

#include <unistd.h>

#include <chrono>

#include "config/whole_number.hpp"
#include "tools/nanobox/raw_terminal.hpp"

namespace nanobox::inspection {

Paper paper_of(const cli::Session& session) {
  Paper paper;
  paper.is_terminal = ::isatty(STDOUT_FILENO) == 1;
  paper.style = style_for(session.environment, paper.is_terminal);
  const auto size = cli::terminal_size();
  paper.rows = size.rows;
  if (paper.is_terminal) {
    paper.columns = size.columns;
  } else if (const auto said = session.environment.find("COLUMNS"); said != session.environment.end()) {
    paper.columns = whole_number<std::uint16_t>(said->second).value_or(0);
  }
  return paper;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + "\n";
  return text;
}

std::string screenful(const std::vector<std::string>& lines) {
  std::string text = "\x1b[H";
  for (std::size_t at = 0; at < lines.size(); ++at) text += (at == 0 ? "" : "\r\n") + lines[at] + "\x1b[K";
  return text + "\x1b[J";
}

Result<void> wait_for(cli::ApiClient& client, std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return {};
    NANOBOX_TRY(client.loop().turn({}, left));
  }
}

}  // namespace nanobox::inspection
