// What a VMM that its guest took over may say on QMP, and what a /proc/PID/maps may hold.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "pipeline/boot/vmm/memory_check.hpp"
#include "pipeline/boot/vmm/qmp_message.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nanobox;
  const auto bytes = std::as_bytes(std::span(data, size));
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  QmpReader whole;
  const auto at_once = whole.read(bytes);
  // Cut anywhere, the messages are the same.
  QmpReader parts;
  std::size_t count = 0;
  bool failed = false;
  for (std::size_t at = 0; at < size && !failed; at += 7) {
    const auto some = parts.read(bytes.subspan(at, std::min<std::size_t>(7, size - at)));
    failed = !some;
    if (some) count += some->size();
  }
  if (failed == at_once.has_value()) std::abort();
  if (at_once && at_once->size() != count) std::abort();
  if (at_once)
    for (const auto& message : *at_once) {
      (void)json_bool(message.body, "nospace");
      (void)json_string(message.body, "status");
    }
  (void)find_shared_memory(text, 1, 4096);
  return 0;
}
