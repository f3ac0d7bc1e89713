#include "tools/nanobox/guest_files.hpp"

#include <chrono>

#include "config/clock.hpp"
#include "config/whole_number.hpp"
#include "tools/nanobox/api_client.hpp"
#include "tools/nanobox/guest_path.hpp"
#include "tools/nanobox/sandbox_calls.hpp"

namespace nanobox::cli {
namespace {

/// As the kernel follows: more links than this are a ring.
constexpr int kMostLinks = 40;

std::optional<timespec> time_in(const std::string& text) {
  const auto time = from_rfc3339(text);
  if (!time) return std::nullopt;
  const auto milliseconds = time->time_since_epoch().count();
  const auto below = (milliseconds % 1000 + 1000) % 1000;
  return timespec{.tv_sec = static_cast<time_t>((milliseconds - below) / 1000), .tv_nsec = below * 1'000'000};
}

/// HEAD answers have no body that says what is wrong.
Error error_of_head(const ApiAnswer& answer) {
  const auto code = answer.status == 403   ? ErrorCode::file_permission
                    : answer.status == 401 ? ErrorCode::unauthorized
                                           : ErrorCode::file_failed;
  return {.code = code,
          .attempted = "",
          .subject = "",
          .reason = answer.status == 403   ? "permission denied"
                    : answer.status == 401 ? "a key is needed"
                                           : "the server answered " + std::to_string(answer.status),
          .mend = ""};
}

}  // namespace

std::string GuestFiles::url(const std::string& path) const {
  return sandbox_path(sandbox_id_) + "/files?path=" + url_encode(path) +
         (user_.empty() ? "" : "&user=" + url_encode(user_));
}

Error GuestFiles::with_path(Error error, const std::string& attempted, const std::string& path) const {
  error.attempted = attempted;
  error.subject = sandbox_id_ + ":" + path;
  return error;
}

Result<std::optional<GuestEntry>> GuestFiles::find(const std::string& path) {
  std::string at = plain_path(path);
  for (int links = 0; links < kMostLinks; ++links) {
    Transfer head(loop_, {.method = "HEAD", .path = url(at)});
    const auto answer = NANOBOX_TRY(head.collect());
    if (answer.status == 404) {
      // The sandbox may be what is not there: only an answer with a body says so.
      Transfer sandbox(loop_, {.method = "GET", .path = sandbox_path(sandbox_id_)});
      const auto found = NANOBOX_TRY(sandbox.collect());
      if (!found.succeeded()) return fail(error_of(found, {.method = "GET", .path = sandbox_path(sandbox_id_)}));
      return std::nullopt;
    }
    if (!answer.succeeded()) {
      Transfer asked(loop_, {.method = "GET", .path = url(at)});
      NANOBOX_TRY(asked.await_head());
      if (asked.answer().succeeded()) return fail(with_path(error_of_head(answer), "look at", at));
      return fail(with_path(error_of(NANOBOX_TRY(asked.collect()), {.method = "GET", .path = url(at)}), "look at", at));
    }
    GuestEntry entry{.path = at,
                     .type = answer.header("x-nanobox-type"),
                     .mode = whole_number<unsigned>(answer.header("x-nanobox-mode"), 8).value_or(0644) & 07777,
                     .mtime = time_in(answer.header("x-nanobox-mtime")),
                     .size_bytes = whole_number<std::uint64_t>(answer.header("content-length"))};
    if (entry.type != "symlink") return entry;
    const auto target = answer.header("x-nanobox-target");
    const auto folder = at.substr(0, at.rfind('/'));
    at = plain_path(target.starts_with('/') ? target : folder + "/" + target);
  }
  return fail({.code = ErrorCode::file_failed,
               .attempted = "look at",
               .subject = sandbox_id_ + ":" + path,
               .reason = "too many links lead from one to the next",
               .mend = ""});
}

Result<std::unique_ptr<Transfer>> GuestFiles::download(const std::string& path, bool tar) {
  const ApiRequest request{.method = "GET",
                           .path = url(path) + (tar ? "&archive=tar" : ""),
                           .body = "",
                           .patience = std::chrono::milliseconds{0}};
  auto transfer = std::make_unique<Transfer>(loop_, request);
  NANOBOX_TRY(transfer->await_head());
  if (transfer->answer().succeeded()) return transfer;
  return fail(with_path(error_of(NANOBOX_TRY(transfer->collect()), request), "read", path));
}

std::unique_ptr<Transfer> GuestFiles::upload(const std::string& path, bool tar, std::optional<unsigned> mode,
                                             std::int64_t body_bytes) {
  std::string query;
  if (tar) query += "&archive=tar";
  if (mode) {
    char digits[8];
    const auto end = std::to_chars(digits, digits + sizeof digits, *mode, 8).ptr;
    query += "&mode=0" + std::string(digits, end);
  }
  return std::make_unique<Transfer>(loop_,
                                    ApiRequest{.method = "PUT",
                                               .path = url(path) + query,
                                               .body = "",
                                               .patience = std::chrono::milliseconds{0},
                                               .content_type = tar ? "application/x-tar" : "application/octet-stream",
                                               .streams_body = true,
                                               .body_bytes = body_bytes});
}

Result<void> GuestFiles::finish(Transfer& upload, const std::string& path) {
  upload.end_body();
  auto answer = upload.collect();
  if (!answer) return fail(with_path(answer.error(), "write", path));
  if (answer->succeeded()) return {};
  return fail(with_path(error_of(*answer, {.method = "PUT", .path = url(path)}), "write", path));
}

}  // namespace nanobox::cli
