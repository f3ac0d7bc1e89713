#include "config/error.hpp"

#include <cerrno>
#include <cstring>

namespace nanobox {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::none_reserved:
      break;
#define NANOBOX_X(name) \
  case ErrorCode::name: \
    return #name;
      NANOBOX_ERROR_CODES(NANOBOX_X)
#undef NANOBOX_X
  }
  return "internal";
}

std::string describe(const Error& error) {
  std::string text = error.attempted;
  if (!error.subject.empty()) text += (text.empty() ? "" : " ") + error.subject;
  if (!error.reason.empty()) text += (text.empty() ? "" : ": ") + error.reason;
  if (!error.mend.empty()) text += " (" + error.mend + ")";
  return text;
}

Error errno_error(int number, std::string attempted, std::string subject, ErrorCode code) {
  const bool full = number == ENOSPC || number == EDQUOT;
  char buffer[128];
  return {.code = full ? ErrorCode::disk_full : code,
          .attempted = std::move(attempted),
          .subject = std::move(subject),
          .reason = ::strerror_r(number, buffer, sizeof buffer),
          .mend = full ? "free space on that file system, or place the folder on a larger one" : ""};
}

}  // namespace nanobox
