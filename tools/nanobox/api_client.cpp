#include "tools/nanobox/api_client.hpp"

#include <algorithm>
#include <cctype>

#include "tools/nanobox/json.hpp"

namespace nanobox::cli {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

Result<ApiAnswer> ApiClient::send(const ApiRequest& request) {
  using std::chrono::milliseconds;
  Transfer transfer(loop_, request);
  std::string body;
  auto next_tick = Clock::now() + request.tick_every;
  for (;;) {
    const auto bytes = transfer.take();
    body += bytes;
    if (bytes.empty() && transfer.ended()) break;
    if (!bytes.empty()) continue;
    milliseconds wait{1000};
    if (request.tick) {
      if (Clock::now() >= next_tick) {
        request.tick();
        next_tick = Clock::now() + request.tick_every;
      }
      wait = std::clamp(std::chrono::ceil<milliseconds>(next_tick - Clock::now()), milliseconds{0}, wait);
    }
    NANOBOX_TRY(loop_.turn({}, wait));
  }
  NANOBOX_TRY(transfer.outcome());
  auto answer = transfer.answer();
  answer.body = std::move(body);
  return answer;
}

Result<ApiAnswer> ApiClient::ask(const ApiRequest& request) {
  auto answer = NANOBOX_TRY(send(request));
  if (answer.status < 200 || answer.status > 299) return fail(error_of(answer, request));
  return answer;
}

Result<bool> ApiClient::watch(const std::string& path, const std::function<bool(const ServerEvent&)>& on_event) {
  const ApiRequest request{.method = "GET",
                           .path = path,
                           .body = "",
                           .patience = std::chrono::milliseconds{0},
                           .accept = "text/event-stream"};
  Transfer transfer(loop_, request);
  NANOBOX_TRY(transfer.await_head());
  if (!transfer.answer().succeeded()) return fail(error_of(NANOBOX_TRY(transfer.collect()), request));
  if (!transfer.answer().content_type.starts_with("text/event-stream")) return false;
  EventStream events;
  for (;;) {
    const auto bytes = NANOBOX_TRY(transfer.next());
    if (bytes.empty() || !std::ranges::all_of(events.take(bytes), on_event)) return true;
  }
}

Error error_of_problem(const rapidjson::Value& problem) {
  Error error{
      .code = ErrorCode::io_failed, .attempted = "", .subject = "", .reason = json_text(problem, "detail"), .mend = ""};
  const auto code = json_text(problem, "code");
#define NANOBOX_X(name) \
  if (code == #name) error.code = ErrorCode::name;
  NANOBOX_ERROR_CODES(NANOBOX_X)
#undef NANOBOX_X
  if (error.reason.empty()) error.reason = code;
  if (error.code == ErrorCode::sandbox_paused) error.mend = "nanobox resume SANDBOX";
  if (const auto* fields = json_member(problem, "errors"); fields != nullptr && fields->IsArray())
    for (const auto& field : fields->GetArray())
      error.fields.push_back({json_text(field, "pointer"), json_text(field, "detail")});
  return error;
}

Error error_of(const ApiAnswer& answer, const ApiRequest& request) {
  const auto problem = answer.json();
  if (problem.IsObject() && json_member(problem, "code") != nullptr) return error_of_problem(problem);
  return {.code = ErrorCode::io_failed,
          .attempted = request.method + " " + request.path,
          .subject = "",
          .reason = "the server answered " + std::to_string(answer.status),
          .mend = ""};
}

std::string url_encode(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '.' || c == '_' || c == '~') {
      out += c;
    } else {
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  return out;
}

}  // namespace nanobox::cli
