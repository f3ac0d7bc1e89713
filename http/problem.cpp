#include "http/problem.hpp"

#include "http/json/writer.hpp"

namespace nanobox::http {

HttpStatus http_status(ErrorCode code) {
  const auto status = [&] {
    switch (code) {  // no default: -Wswitch names a forgotten code
      case ErrorCode::malformed_request:
      case ErrorCode::malformed_json:
      case ErrorCode::unknown_field:
      case ErrorCode::wrong_type:
      case ErrorCode::idempotency_key_unsupported:
        return 400;
      case ErrorCode::unauthorized:
        return 401;
      case ErrorCode::forbidden:
      case ErrorCode::image_source_forbidden:
      case ErrorCode::file_permission:
      case ErrorCode::token_invalid:
      case ErrorCode::token_expired:
        return 403;
      case ErrorCode::route_not_found:
      case ErrorCode::template_not_found:
      case ErrorCode::sandbox_not_found:
      case ErrorCode::run_not_found:
      case ErrorCode::node_not_found:
      case ErrorCode::process_not_found:
      case ErrorCode::file_not_found:
        return 404;
      case ErrorCode::method_not_allowed:
        return 405;
      case ErrorCode::request_timeout:
        return 408;
      case ErrorCode::answer_not_kept:
      case ErrorCode::template_not_ready:
      case ErrorCode::template_in_use:
      case ErrorCode::sandbox_not_running:
      case ErrorCode::sandbox_paused:
      case ErrorCode::snapshot_invalid:
      case ErrorCode::boot_path_unavailable:
      case ErrorCode::cancelled:
      case ErrorCode::conflict:
      case ErrorCode::guest_outdated:
      case ErrorCode::process_exists:
      case ErrorCode::process_ended:
      case ErrorCode::process_running:
      case ErrorCode::process_attended:
      case ErrorCode::stdin_busy:
      case ErrorCode::stdin_closed:
      case ErrorCode::file_exists:
      case ErrorCode::file_is_folder:
      case ErrorCode::not_a_folder:
      case ErrorCode::not_a_file:
      case ErrorCode::folder_not_empty:
      case ErrorCode::file_busy:
      case ErrorCode::version_incompatible:
      case ErrorCode::node_exists:
      case ErrorCode::sandbox_lost:
        return 409;
      case ErrorCode::body_too_large:
        return 413;
      case ErrorCode::unsupported_media_type:
        return 415;
      case ErrorCode::missing_field:
      case ErrorCode::invalid_value:
      case ErrorCode::idempotency_key_reused:
      case ErrorCode::image_name_invalid:
      case ErrorCode::template_name_invalid:
      case ErrorCode::image_not_found:
      case ErrorCode::manifest_invalid:
      case ErrorCode::platform_not_found:
      case ErrorCode::digest_mismatch:
      case ErrorCode::diff_id_mismatch:
      case ErrorCode::layer_invalid:
      case ErrorCode::layer_unsupported:
      case ErrorCode::layer_too_large:
      case ErrorCode::image_too_small:
      case ErrorCode::cwd_not_found:
      case ErrorCode::user_not_found:
      case ErrorCode::command_invalid:
      case ErrorCode::path_invalid:
      case ErrorCode::archive_invalid:
        return 422;
      case ErrorCode::too_many_requests:
        return 429;
      case ErrorCode::headers_too_large:
        return 431;
      case ErrorCode::registry_unreachable:
      case ErrorCode::registry_unauthorized:
      case ErrorCode::registry_forbidden:
      case ErrorCode::registry_rate_limited:
      case ErrorCode::registry_failed:
      case ErrorCode::blob_truncated:
      case ErrorCode::vmm_failed:
      case ErrorCode::guest_panicked:
      case ErrorCode::guest_protocol:
      case ErrorCode::guest_gone:
      case ErrorCode::connection_refused:
      case ErrorCode::connection_failed:
      case ErrorCode::file_failed:
      case ErrorCode::connection_lost:
      case ErrorCode::peer_untrusted:
      case ErrorCode::artifact_missing:
        return 502;
      case ErrorCode::no_capacity:
      case ErrorCode::network_unavailable:
      case ErrorCode::no_address:
      case ErrorCode::host_disk_full:
      case ErrorCode::disk_full:
      case ErrorCode::host_unsuitable:
      case ErrorCode::vmm_missing:
      case ErrorCode::kernel_missing:
      case ErrorCode::not_ready:
      case ErrorCode::node_lost:
      case ErrorCode::shutting_down:
        return 503;
      case ErrorCode::guest_timeout:
      case ErrorCode::deadline_exceeded:
        return 504;
      case ErrorCode::guest_disk_full:
        return 507;
      case ErrorCode::none_reserved:
      case ErrorCode::config_invalid:
      case ErrorCode::file_unreadable:
      case ErrorCode::data_folder_locked:
      case ErrorCode::store_failed:
      case ErrorCode::io_failed:
      case ErrorCode::internal:
        return 500;
    }
    return 500;
  }();
  return {status, reason_phrase(status)};
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 102:
      return "Processing";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Range Not Satisfiable";
    case 418:
      return "I'm a teapot";
    case 422:
      return "Unprocessable Content";
    case 426:
      return "Upgrade Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 507:
      return "Insufficient Storage";
    default:
      return status < 400 ? "OK" : "Error";
  }
}

std::string problem_json(const Error& error, std::string_view instance, std::string_view request_id) {
  return problem_json(http_status(error.code).code, error, instance, request_id);
}

std::string problem_json(int status, const Error& error, std::string_view instance, std::string_view request_id) {
  json::Writer out;
  out.begin_object()
      .field("type", "about:blank")
      .field("title", reason_phrase(status))
      .field("status", status)
      .field("code", to_string(error.code))
      .field("detail", describe(error));
  if (!instance.empty()) out.field("instance", instance);
  if (!request_id.empty()) out.field("request_id", request_id);
  if (!error.fields.empty()) {
    out.key("errors").begin_array();
    for (const auto& field : error.fields)
      out.begin_object().field("pointer", field.pointer).field("detail", field.detail).end_object();
    out.end_array();
  }
  out.end_object();
  return out.take();
}

Headers problem_headers(const Error& error) {
  Headers headers;
  const int status = http_status(error.code).code;
  if (status == 401) headers.emplace_back("WWW-Authenticate", "Bearer");
  if (status == 429 || status == 503)
    headers.emplace_back("Retry-After", std::to_string(error.retry_after_sec > 0 ? error.retry_after_sec : 5));
  return headers;
}

}  // namespace nanobox::http
