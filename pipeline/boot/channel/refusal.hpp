#pragma once

#include <string>

#include "config/error.hpp"
#include "pipeline/boot/channel/session.hpp"

namespace nanobox {

/// Why the guest did not run a command, as the caller is told. @param sandbox_id  whose guest it is
Error refusal_of(const StreamError& error, std::string sandbox_id);
/// Why it did not do something else. @param attempted  "read the file" @param subject  "/etc/passwd in sb-01jq…"
Error refusal_of(const StreamError& error, std::string attempted, std::string subject);

}  // namespace nanobox
