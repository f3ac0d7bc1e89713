#include "tools/nanobox/output.hpp"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>

namespace nanobox::cli {

Result<void> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EPIPE) return {};
    if (written < 0) return fail(errno_error(errno, "write", fd == STDERR_FILENO ? "stderr" : "stdout"));
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<bool> write_paced(int fd, std::string_view bytes, Interruption& interruption) {
  // A pipe that has room takes this much at once: we wait in poll, where a signal wakes us, never in write.
  constexpr std::size_t at_once = PIPE_BUF;
  while (!bytes.empty()) {
    pollfd waiting[] = {{fd, POLLOUT, 0}, {interruption.fd(), POLLIN, 0}};
    if (::poll(waiting, 2, -1) < 0 && errno != EINTR) return fail(errno_error(errno, "write", "output"));
    if (waiting[1].revents != 0 && interruption.check())
      return fail({.code = ErrorCode::cancelled,
                   .attempted = "write output",
                   .subject = "",
                   .reason = "interrupted",
                   .mend = ""});
    if (waiting[0].revents == 0) continue;
    const auto written = ::write(fd, bytes.data(), std::min(bytes.size(), at_once));
    if (written < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    // A terminal that hung up is as gone as a pipe nobody reads.
    if (written < 0 && (errno == EPIPE || errno == EIO)) return false;
    if (written < 0) return fail(errno_error(errno, "write", fd == STDERR_FILENO ? "stderr" : "stdout"));
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

Result<void> print_text(std::string_view text) {
  return write_all(STDOUT_FILENO, text);
}

Result<void> print_json(std::string_view json) {
  std::string line(json);
  if (line.empty() || line.back() != '\n') line += '\n';
  return print_text(line);
}

void tell(std::string_view text) {
  (void)write_all(STDERR_FILENO, std::string(text) + "\n");
}

Result<std::string> read_stdin() {
  constexpr std::size_t most = 64U << 20;
  std::string text;
  std::array<char, 65536> buffer;
  for (;;) {
    const auto got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error(errno, "read", "stdin"));
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.size() > most)
      return fail({.code = ErrorCode::body_too_large,
                   .attempted = "read",
                   .subject = "stdin",
                   .reason = "it is larger than 64 MiB",
                   .mend = ""});
  }
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string out;
  std::uint32_t bits = 0;
  std::size_t padding = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    std::uint32_t digit = 0;
    if (c >= 'A' && c <= 'Z')
      digit = static_cast<std::uint32_t>(c - 'A');
    else if (c >= 'a' && c <= 'z')
      digit = static_cast<std::uint32_t>(c - 'a') + 26;
    else if (c >= '0' && c <= '9')
      digit = static_cast<std::uint32_t>(c - '0') + 52;
    else if (c == '+')
      digit = 62;
    else if (c == '/')
      digit = 63;
    else if (c == '=' && at + 2 >= text.size())
      ++padding;
    else
      return std::nullopt;
    if (padding > 0 && c != '=') return std::nullopt;
    bits = bits << 6 | digit;
    if (at % 4 == 3) {
      out += static_cast<char>(bits >> 16);
      out += static_cast<char>(bits >> 8);
      out += static_cast<char>(bits);
      bits = 0;
    }
  }
  out.resize(out.size() - padding);
  return out;
}

}  // namespace nanobox::cli
