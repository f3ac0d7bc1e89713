#pragma once

#include <caf/deserializer.hpp>
#include <caf/error.hpp>
#include <caf/sec.hpp>
#include <caf/serializer.hpp>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

// What CAF 0.17 cannot write by itself, or reads from a peer without looking, as arguments for an inspector:
// `f(x.number, optionally(x.length), checked(x.way, BootWay::automatic, BootWay::cold), block(x.bytes))`.

/// Declares how a message type is written and read. As two functions and no template: every file that sends the type
/// has them instantiated otherwise. Read, a value is whole, or the old one and an error.
#define NANOBOX_WIRE_TYPE(type)                       \
  caf::error inspect(caf::serializer& sink, type& x); \
  caf::error inspect(caf::deserializer& source, type& x)

namespace nanobox {

caf::error unreadable(std::string what);

template <class T>
struct Optionally {
  std::optional<T>& value;
};
template <class T>
Optionally<T> optionally(std::optional<T>& value) {
  return {value};
}

template <class T>
struct Checked {
  T& value;
  T first, last;
};
/// An enumeration whose values are all from `first` to `last`; CAF would take any number for one.
template <class T>
Checked<T> checked(T& value, T first, T last) {
  return {value, first, last};
}

struct Block {
  std::vector<std::byte>& value;
};
/// Bytes as one piece. CAF has std::byte one by one, and for char believes a length before it saw so many.
inline Block block(std::vector<std::byte>& value) {
  return {value};
}

NANOBOX_WIRE_TYPE(Block);

template <class F, class T>
caf::error inspect(F& f, Optionally<T>& x) {
  std::uint8_t there = x.value.has_value() ? 1 : 0;
  if (auto error = f(there)) return error;
  if constexpr (F::writes_state) {
    if (there > 1) return unreadable("something is there, or not");
    x.value.reset();
    if (there == 1) x.value.emplace();
  }
  return x.value ? f(*x.value) : caf::none;
}

template <class F, class T>
caf::error inspect(F& f, Checked<T>& x) {
  using Number = std::underlying_type_t<T>;
  auto number = static_cast<Number>(x.value);
  if (auto error = f(number)) return error;
  if (number < static_cast<Number>(x.first) || number > static_cast<Number>(x.last))
    return unreadable("an enumeration has no " + std::to_string(number));
  x.value = static_cast<T>(number);
  return caf::none;
}

}  // namespace nanobox
