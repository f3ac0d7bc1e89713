#pragma once

#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>
#include <catch2/catch.hpp>

#include "actors/messages.hpp"

namespace nanobox::test {

using Wire = std::vector<char>;

template <class T>
Wire written(T value) {
  Wire wire;
  caf::binary_serializer sink(nullptr, wire);
  const auto error = sink(value);
  REQUIRE_FALSE(error);
  return wire;
}

/// Whether the bytes are a T; `into` is it then.
template <class T>
bool reads(const Wire& wire, T& into) {
  caf::binary_deserializer source(nullptr, wire);
  return !source(into) && source.remaining() == 0;
}

template <class T>
bool refused(const Wire& wire) {
  T into{};
  caf::binary_deserializer source(nullptr, wire);
  return static_cast<bool>(source(into));
}

/// The value comes back as it was, cut at any place it is refused and what was there before stays, and no other byte
/// at any place does harm.
template <class T>
void travels(const T& value, const T& before = {}) {
  const auto wire = written(value);
  T read = before;
  REQUIRE(reads(wire, read));
  CHECK(read == value);

  std::size_t taken = 0, touched = 0;
  for (std::size_t size = 0; size < wire.size(); ++size) {
    T into = before;
    caf::binary_deserializer source(nullptr, wire.data(), size);
    if (!source(into)) ++taken;
    if (!(into == before)) ++touched;
  }
  CHECK(taken == 0);
  CHECK(touched == 0);

  for (std::size_t place = 0; place < wire.size(); ++place)
    for (const int other : {0x00, 0x01, 0x7f, 0x80, 0xff, 0x22, 0x7d}) {
      auto damaged = wire;
      damaged[place] = static_cast<char>(other);
      T into = before;
      caf::binary_deserializer source(nullptr, damaged);
      if (source(into)) touched += into == before ? 0 : 1;
    }
  CHECK(touched == 0);
}

}  // namespace nanobox::test
