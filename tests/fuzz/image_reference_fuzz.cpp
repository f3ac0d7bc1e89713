// Image names come from API clients; login challenges from registries.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "pipeline/warmup/source/reference.hpp"
#include "pipeline/warmup/source/registry_auth.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nanobox;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto reference = parse_reference(text)) {
    // What is read is written so that it reads the same again.
    const auto name = canonical_name(*reference);
    const auto again = parse_reference(name);
    if (!again || canonical_name(*again) != name) std::abort();
  } else if (reference.error().code != ErrorCode::image_name_invalid || reference.error().mend.empty()) {
    std::abort();
  }
  (void)parse_challenge(text);
  return 0;
}
