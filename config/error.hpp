#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

namespace nanobox {

/// The API's stable `code`, one for each way of failing. Never 0, which CAF reads as "no error".
/// The name of a code on the wire is its identifier here (see `to_string`).
#define NANOBOX_ERROR_CODES(X)                                                                                         \
  /* a request's form */                                                                                               \
  X(malformed_request)                                                                                                 \
  X(malformed_json)                                                                                                    \
  X(unknown_field)                                                                                                     \
  X(wrong_type) X(invalid_value) X(missing_field) X(unsupported_media_type) X(body_too_large) X(headers_too_large)     \
      X(unauthorized) X(forbidden) X(route_not_found) X(method_not_allowed) X(idempotency_key_reused)                  \
          X(idempotency_key_unsupported) X(answer_not_kept) X(too_many_requests)                                       \
              X(request_timeout) /* configuration and host */                                                          \
      X(config_invalid) X(file_unreadable) X(data_folder_locked) X(disk_full) X(host_unsuitable) /* images */          \
      X(image_name_invalid) X(image_source_forbidden) X(image_not_found) X(registry_unreachable)                       \
          X(registry_unauthorized) X(registry_forbidden) X(registry_rate_limited) X(registry_failed)                   \
              X(manifest_invalid) X(platform_not_found) X(digest_mismatch) X(diff_id_mismatch) X(blob_truncated)       \
                  X(layer_invalid) X(layer_unsupported) X(layer_too_large) X(image_too_small) /* templates */          \
      X(template_not_found) X(template_not_ready) X(template_in_use) X(template_name_invalid) /* sandboxes */          \
      X(sandbox_not_found) X(sandbox_not_running) X(sandbox_paused) X(snapshot_invalid) X(run_not_found) X(node_not_found) X(boot_path_unavailable)          \
          X(vmm_missing) X(vmm_failed) X(kernel_missing) X(guest_panicked) X(guest_timeout) X(guest_protocol)          \
              X(guest_gone) X(cwd_not_found) X(user_not_found) X(command_invalid) X(no_capacity)                       \
                  X(network_unavailable) X(no_address) X(host_disk_full) /* inside of sandboxes */                     \
      X(guest_outdated) X(process_not_found) X(process_exists) X(process_ended) X(process_running) X(process_attended) \
          X(stdin_busy) X(stdin_closed) X(path_invalid) X(file_not_found) X(file_exists) X(file_is_folder)             \
              X(not_a_folder) X(not_a_file) X(folder_not_empty) X(file_permission) X(file_busy) X(guest_disk_full)     \
                  X(file_failed) X(archive_invalid) X(connection_refused) X(connection_failed) /* between nodes */     \
      X(connection_lost) X(peer_untrusted) X(token_invalid) X(token_expired) X(version_incompatible) X(node_exists)    \
      X(node_lost) X(sandbox_lost) X(artifact_missing) /* everywhere */                                                \
      X(not_ready) X(shutting_down) X(deadline_exceeded) X(cancelled) X(conflict) X(store_failed) X(io_failed)         \
          X(internal)

enum class ErrorCode : std::uint8_t {
  none_reserved = 0,
#define NANOBOX_X(name) name,
  NANOBOX_ERROR_CODES(NANOBOX_X)
#undef NANOBOX_X
};

/// The stable snake_case name of `code`.
std::string_view to_string(ErrorCode code);

/// One field of a request or configuration that does not validate.
struct FieldError {
  std::string pointer;  ///< JSON pointer (RFC 6901), e.g. "/resources/vcpu"
  std::string detail;   ///< e.g. "must be 1 to 32"
  bool operator==(const FieldError&) const = default;
};

/// What was attempted, on what, why it failed, and what to do about it.
struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string attempted;                ///< "fetch layer"
  std::string subject;                  ///< "sha256:…"; empty where nothing is known
  std::string reason;                   ///< "the registry answered 503"
  std::string mend;                     ///< what the user can do; may be empty
  bool transient = false;               ///< another try may succeed: network, a worker that died
  std::uint32_t retry_after_sec = 0;    ///< 0: not known
  std::vector<FieldError> fields = {};  ///< for requests that do not validate
  bool operator==(const Error&) const = default;
};

/// One line for logs and for `detail`: "fetch layer sha256:…: the registry answered 503 (retry later)".
std::string describe(const Error& error);

template <class T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(Error error) {
  return tl::unexpected<Error>(std::move(error));
}

/// An error from errno: `reason` is strerror's text; ENOSPC and EDQUOT become `disk_full`.
Error errno_error(int number, std::string attempted, std::string subject, ErrorCode code = ErrorCode::io_failed);

/// Evaluates to the value of a Result, or returns its error from the enclosing function.
#define NANOBOX_TRY(expression)                                                     \
  __extension__({                                                                   \
    auto nanobox_result = (expression);                                             \
    if (!nanobox_result) return ::nanobox::fail(std::move(nanobox_result).error()); \
    ::nanobox::detail::take(nanobox_result);                                        \
  })

namespace detail {
template <class T>
T take(tl::expected<T, Error>& result) {
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}
}  // namespace detail

}  // namespace nanobox
