#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "config/settings.hpp"
#include "config/settings_file.hpp"

// Any text is read or refused; what is read prints as a text that reads as the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  nanobox::Settings settings;
  std::set<std::string, std::less<>> given;
  if (!nanobox::apply_toml(text, "fuzz", settings, given).empty()) return 0;
  const auto printed = nanobox::print_settings(settings);
  nanobox::Settings again;
  if (!nanobox::apply_toml(printed, "printed", again, given).empty()) std::abort();
  if (nanobox::print_settings(again) != printed) std::abort();
  return 0;
}
