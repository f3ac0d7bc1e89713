#include "actors/messages.hpp"

#include <caf/sec.hpp>

namespace nanobox {

caf::error to_caf(const Error& error) {
  return caf::error(error.code, error);
}

Error from_caf(const caf::error& error, const std::string& attempted) {
  if (error.category() == caf::atom("nanobox") && error.context().match_elements<Error>())
    return error.context().get_as<Error>(0);
  if (error == caf::sec::request_timeout)
    return {.code = ErrorCode::deadline_exceeded,
            .attempted = attempted,
            .subject = "",
            .reason = "there was no answer within the deadline",
            .mend = "try again; if it persists look at the host's load",
            .transient = true};
  if (error == caf::sec::request_receiver_down || error == caf::exit_reason::user_shutdown)
    return {.code = ErrorCode::shutting_down,
            .attempted = attempted,
            .subject = "",
            .reason = "the actor that does it ended",
            .mend = "try again later",
            .transient = true};
  std::string reason = "an actor failed";
  if (error.context().match_elements<std::string>()) reason += ": " + error.context().get_as<std::string>(0);
  return {.code = ErrorCode::internal,
          .attempted = attempted,
          .subject = "",
          .reason = reason,
          .mend = "",
          .transient = true};
}

}  // namespace nanobox
