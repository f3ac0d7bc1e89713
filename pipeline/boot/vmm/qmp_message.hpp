#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config/error.hpp"

namespace nanobox {

/// One message of the QEMU Machine Protocol, from the VMM. Bodies are JSON objects or values as text.
struct QmpMessage {
  enum class Kind : std::uint8_t { greeting = 1, reply, error, event };
  Kind kind = Kind::event;
  std::uint64_t id = 0;     ///< reply, error: of the command; 0 where the VMM named none
  std::string name;         ///< event: its name; error: its class
  std::string body;         ///< reply: "return"; event: "data" ("{}" where there is none); greeting: "QMP"
  std::string description;  ///< error: for people
};

/// Reads messages that arrive in pieces. The VMM may be taken over by its guest: all is bounded.
class QmpReader {
public:
  static constexpr std::size_t longest_message = std::size_t{1} << 20;

  /// Takes bytes, returns the messages that are complete now.
  /// @errors vmm_failed: no JSON, no known form, or longer than `longest_message`; the reader is of no use then
  Result<std::vector<QmpMessage>> read(std::span<const std::byte> bytes);

private:
  std::string line_;
};

/// The bytes of a command. @param arguments  a JSON object as text; empty for none
std::string qmp_command(std::string_view name, std::string_view arguments, std::uint64_t id);

/// A member of a JSON object given as text, where it is there and of that type.
std::optional<std::string> json_string(std::string_view object, const char* member);
std::optional<bool> json_bool(std::string_view object, const char* member);

}  // namespace nanobox
