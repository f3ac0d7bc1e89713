#include "actors/wire/inspected.hpp"

#include <algorithm>

namespace nanobox {

namespace {

/// What is made room for before the bytes are seen.
constexpr std::size_t kStep = std::size_t{1} << 20;

}  // namespace

caf::error unreadable(std::string what) {
  return caf::make_error(caf::sec::invalid_argument, "from the wire: " + std::move(what));
}

caf::error inspect(caf::serializer& sink, Block& x) {
  auto size = x.value.size();
  // CAF writes the lower 32 bits.
  if (size > std::numeric_limits<std::uint32_t>::max()) return unreadable("a block is too large");
  if (auto error = sink.begin_sequence(size)) return error;
  if (size > 0)
    if (auto error = sink.apply_raw(size, x.value.data())) return error;
  return sink.end_sequence();
}

caf::error inspect(caf::deserializer& source, Block& x) {
  std::size_t size = 0;
  if (auto error = source.begin_sequence(size)) return error;
  x.value.clear();
  while (x.value.size() < size) {
    const auto had = x.value.size();
    const auto step = std::min(size - had, kStep);
    x.value.resize(had + step);
    if (auto error = source.apply_raw(step, x.value.data() + had)) return error;
  }
  return source.end_sequence();
}

}  // namespace nanobox
