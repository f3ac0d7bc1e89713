#include "pipeline/boot/vmm/preload/private_memory.hpp"

asm(R"(
  .pushsection .rodata
  .global nanobox_private_memory_begin, nanobox_private_memory_end
nanobox_private_memory_begin:
  .incbin ")" NANOBOX_PRIVATE_MEMORY_OBJECT R"("
nanobox_private_memory_end:
  .popsection
)");

extern "C" {
extern const std::byte nanobox_private_memory_begin[];
extern const std::byte nanobox_private_memory_end[];
}

namespace nanobox {

std::span<const std::byte> private_memory_object() {
  return {nanobox_private_memory_begin, nanobox_private_memory_end};
}

}  // namespace nanobox
