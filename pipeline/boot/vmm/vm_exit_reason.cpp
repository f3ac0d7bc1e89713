#include "pipeline/boot/vmm/vm_exit_reason.hpp"

#include <algorithm>
#include <csignal>

namespace nanobox {

namespace {

std::string line_with(const std::string& text, std::string_view mark) {
  const auto at = text.rfind(mark);
  if (at == std::string::npos) return {};
  auto line = text.substr(at, text.find('\n', at) - at);
  line.erase(std::remove_if(line.begin(), line.end(), [](unsigned char c) { return c < 0x20 || c >= 0x7F; }),
             line.end());
  return line.substr(0, 300);
}

std::string reason_of(const VmEnding& ending) {
  if (ending.guest_panicked) {
    const auto line = line_with(ending.console, "Kernel panic - not syncing");
    return "the guest's kernel panicked" + (line.empty() ? "" : ": " + line);
  }
  if (ending.end_asked) return "it was ended";
  if (ending.status.oom_kills > 0) return "it exceeded its memory limit and was killed by the host";
  if (ending.guest_rebooted) return "the guest shut down";
  const auto words = last_words(ending.output);
  const auto said = words.empty() ? "" : ": " + words;
  if (ending.status.signal == SIGKILL)
    return "the VMM was killed by signal 9, which nanoboxd did not send: somebody did, or the host had no memory left" +
           said;
  if (ending.status.signal) return "the VMM was killed by signal " + std::to_string(*ending.status.signal) + said;
  if (ending.status.exit_code) return "the VMM ended with code " + std::to_string(*ending.status.exit_code) + said;
  return "the VMM ended, and nobody recorded how" + said;
}

}  // namespace

std::string last_words(const std::string& output) {
  const auto end = output.find_last_not_of(" \t\r\n");
  if (end == std::string::npos) return {};
  const auto before = output.rfind('\n', end);
  const auto begin = before == std::string::npos ? 0 : before + 1;
  auto line = output.substr(begin, end + 1 - begin);
  if (const auto colon = line.find(": "); colon != std::string::npos && line.starts_with('/')) line.erase(0, colon + 2);
  return line.substr(0, 500);
}

VmExit to_vm_exit(const VmEnding& ending) {
  return {.exit_code = ending.status.exit_code,
          .signal = ending.status.signal,
          .guest_panicked = ending.guest_panicked,
          .guest_rebooted = ending.guest_rebooted,
          .reason = reason_of(ending)};
}

}  // namespace nanobox
