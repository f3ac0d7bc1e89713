#pragma once

#include "http/resources/api.hpp"
#include "http/responder.hpp"
#include "pipeline/boot/exec.hpp"

namespace nanobox::http {

/// Answers with a command's end and its whole output. Large outputs are read and encoded while they are sent.
/// @param in_one_piece  the answer will be kept for an idempotency key, so it is made whole first
void send_outcome(Api& api, Responder responder, ExecOutcome outcome, bool in_one_piece);

}  // namespace nanobox::http
