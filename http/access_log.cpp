#include "http/access_log.hpp"

#include "config/log.hpp"

namespace nanobox::http {

namespace {

constexpr std::size_t kPathMax = 512;

/// Without its query, which may hold anything.
std::string_view shown_path(std::string_view path) {
  return path.substr(0, std::min(path.find('?'), kPathMax));
}

LogLevel level_of(const ServedRequest& request) {
  return request.status >= 500 && request.status != 503 ? LogLevel::warn : LogLevel::debug;
}

/// What it was about: the sandbox that a create made, too.
std::string_view sandbox_of(const ServedRequest& request) {
  if (const auto noted = note_of(request, "sandbox"); !noted.empty()) return noted;
  return request.subject.starts_with("sb-") ? std::string_view(request.subject) : std::string_view();
}

}  // namespace

ServedRequestSink access_log() {
  return [](const ServedRequest& request) {
    const auto level = level_of(request);
    if (!logs(LogComponent::http, level)) return;
    const auto method = to_string(request.method);
    const auto path = shown_path(request.path);
    const auto status = request.status == 0 ? std::string() : std::to_string(request.status);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(request.duration).count();
    const auto failure = level == LogLevel::warn ? note_of(request, "detail") : std::string_view();
    write_log(LogComponent::http, level,
              {{"request", request.request_id},
               {"method", method},
               {"path", path},
               {"status", status},
               {"code", note_of(request, "code")},
               {"duration_ms", std::to_string(took)},
               {"owner", request.owner},
               {"sandbox", sandbox_of(request)},
               {"detail", failure}},
              request.status == 0 ? "the client went before an answer" : "answered");
  };
}

}  // namespace nanobox::http
