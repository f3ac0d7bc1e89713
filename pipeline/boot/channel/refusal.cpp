#include "pipeline/boot/channel/refusal.hpp"

#include "guest/protocol.h"

namespace nanobox {

Error refusal_of(const StreamError& error, std::string sandbox_id) {
  Error refusal{.code = ErrorCode::command_invalid,
                .attempted = "run a command in",
                .subject = std::move(sandbox_id),
                .reason = error.text,
                .mend = ""};
  switch (error.reason) {
    case NANOBOX_REASON_CWD_NOT_FOUND:
      refusal.code = ErrorCode::cwd_not_found;
      refusal.mend = "name a folder that exists";
      refusal.fields = {{"/cwd", error.text}};
      break;
    case NANOBOX_REASON_USER_NOT_FOUND:
      refusal.code = ErrorCode::user_not_found;
      refusal.mend = "name a user of the image, or a numeric id";
      refusal.fields = {{"/user", error.text}};
      break;
    case NANOBOX_REASON_NO_RESOURCES:
      refusal.code = ErrorCode::no_capacity;
      refusal.mend = "end other commands first";
      refusal.retry_after_sec = 1;
      break;
    default:
      break;
  }
  return refusal;
}

}  // namespace nanobox
