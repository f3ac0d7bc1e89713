#include "pipeline/boot/vmm/probe_guest/probe_guest.hpp"

asm(R"(
  .pushsection .rodata
  .global nanobox_probe_guest_begin, nanobox_probe_guest_end
nanobox_probe_guest_begin:
  .incbin ")" NANOBOX_PROBE_GUEST R"("
nanobox_probe_guest_end:
  .popsection
)");

extern "C" {
extern const std::byte nanobox_probe_guest_begin[];
extern const std::byte nanobox_probe_guest_end[];
}

namespace nanobox {

std::span<const std::byte> probe_guest() {
  return {nanobox_probe_guest_begin, nanobox_probe_guest_end};
}

}  // namespace nanobox
