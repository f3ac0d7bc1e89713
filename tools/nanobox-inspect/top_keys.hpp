#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace nanobox::inspection {

enum class Key : std::uint8_t {
  up,
  down,
  page_up,
  page_down,
  home,
  end,
  enter,
  back,
  quit,
  order_stages,
  order_runs,
  window,
  pause,
  help,
  redraw
};

/// What was typed, out of a raw terminal's bytes; what means nothing is left out.
std::vector<Key> keys_of(std::string_view bytes);

}  // namespace nanobox::inspection
