#pragma once

#include <optional>
#include <string>
#include <vector>

#include "http/responder.hpp"
#include "http/served_request.hpp"
#include "pipeline/store/audit_entry.hpp"

namespace nanobox::http {

/// A request as the audit has it, without id and time: each that changes something or looks inside of a sandbox (files,
/// terminal, ports). Nothing for others, and for those whose sender was not identified: anybody could fill the audit
/// with them. Of what resources noted only what is known here goes into the detail.
std::optional<AuditEntry> audit_entry(const ServedRequest& request);

/// Notes a command line: its beginning, where it is long.
void note_command(Responder& responder, const std::vector<std::string>& argv);

/// "read" and so on of a path inside of a sandbox.
void note_file(Responder& responder, std::string op, const std::string& path);

/// A note of several texts.
void note_list(Responder& responder, const std::string& key, const std::vector<std::string>& texts);

}  // namespace nanobox::http
