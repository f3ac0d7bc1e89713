#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "config/error.hpp"
#include "tools/nanobox/interruption.hpp"

namespace nanobox::cli {

/// Writes all bytes to a descriptor; a reader that went away is success (nobody wants the rest).
Result<void> write_all(int fd, std::string_view bytes);

/// Writes all bytes at the speed of the reader, for streams that may stand still for long.
/// @returns false: the reader went away @errors io_failed · cancelled: a signal came meanwhile
Result<bool> write_paced(int fd, std::string_view bytes, Interruption& interruption);

/// The server's JSON and a line break on stdout.
Result<void> print_json(std::string_view json);
Result<void> print_text(std::string_view text);

/// A note for people on stderr.
void tell(std::string_view text);

/// All of stdin. @errors body_too_large above 64 MiB
Result<std::string> read_stdin();

/// The inverse of base64 with padding; nothing: it is none.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace nanobox::cli
