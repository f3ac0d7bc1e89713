#include "guest/embedded_init.hpp"

extern "C" const std::byte nanobox_embedded_init[];
extern "C" const std::byte nanobox_embedded_init_end[];

namespace nanobox {

std::span<const std::byte> embedded_init() {
  return {nanobox_embedded_init, nanobox_embedded_init_end};
}

}  // namespace nanobox
