#include "tools/nanobox/api_client.hpp"

#include <algorithm>
#include <cctype>

#include "tools/nanobox/json.hpp"

namespace nanobox::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct ListFree {
  void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, ListFree>;

void append(HeaderList& list, const std::string& line) {
  list.reset(curl_slist_append(list.release(), line.c_str()));
}

std::string trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.remove_suffix(1);
  return std::string(text);
}

Error cancelled() {
  return {.code = ErrorCode::cancelled,
          .attempted = "wait for the server",
          .subject = "",
          .reason = "interrupted",
          .mend = ""};
}

}  // namespace

/// One request on the wire, and what came of it.
struct ApiClient::Transfer {
  ApiAnswer answer;
  std::function<bool(std::string_view)> on_bytes;  // none: kept in `answer.body`
  bool stopped = false;
};

rapidjson::Document ApiAnswer::json() const {
  rapidjson::Document document;
  document.Parse<rapidjson::kParseValidateEncodingFlag | rapidjson::kParseIterativeFlag |
                 rapidjson::kParseFullPrecisionFlag>(body.data(), body.size());
  if (document.HasParseError()) document.SetNull();
  return document;
}

ApiClient::ApiClient(ServerAddress server, Interruption* interruption)
    : server_(std::move(server)), interruption_(interruption), easy_(curl_easy_init()), multi_(curl_multi_init()) {}

Result<void> ApiClient::perform(Transfer& transfer, const ApiRequest& request) {
  CURL* easy = easy_.get();
  curl_easy_reset(easy);
  const std::string url = server_.url + request.path;
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(request.patience.count()));
  curl_easy_setopt(easy, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1");
  curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  HeaderList headers;
  append(headers, "User-Agent: nanobox");
  append(headers, "Expect:");
  if (!server_.key.empty()) append(headers, "Authorization: Bearer " + server_.key);
  if (transfer.on_bytes) append(headers, "Accept: text/event-stream");
  if (!request.body.empty()) {
    append(headers, "Content-Type: application/json");
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.data());
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
  } else if (request.method == "POST") {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, 0L);
  }
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(
      easy, CURLOPT_HEADERFUNCTION, +[](char* data, std::size_t size, std::size_t count, void* user) {
        auto& answer = static_cast<Transfer*>(user)->answer;
        const std::string_view line(data, size * count);
        const auto colon = line.find(':');
        if (colon != std::string_view::npos) {
          std::string name(line.substr(0, colon));
          std::ranges::transform(name, name.begin(),
                                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
          if (name == "content-type") answer.content_type = trimmed(line.substr(colon + 1));
          if (name == "x-request-id") answer.request_id = trimmed(line.substr(colon + 1));
        }
        return size * count;
      });
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(
      easy, CURLOPT_WRITEFUNCTION, +[](char* data, std::size_t size, std::size_t count, void* user) {
        auto& into = *static_cast<Transfer*>(user);
        const std::string_view bytes(data, size * count);
        const bool streams = into.on_bytes && into.answer.content_type.starts_with("text/event-stream");
        if (!streams) {
          into.answer.body.append(bytes);
          return bytes.size();
        }
        if (into.on_bytes(bytes)) return bytes.size();
        into.stopped = true;
        return std::size_t{0};
      });

  CURLM* multi = multi_.get();
  curl_multi_add_handle(multi, easy);
  struct Remove {
    CURLM* multi;
    CURL* easy;
    ~Remove() { curl_multi_remove_handle(multi, easy); }
  } const remove{multi, easy};

  auto next_tick = Clock::now() + request.tick_every;
  for (;;) {
    int running = 0;
    curl_multi_perform(multi, &running);
    if (running == 0) break;
    if (interruption_ != nullptr && interruption_->check()) return fail(cancelled());
    int wait_ms = 1000;
    if (request.tick) {
      if (Clock::now() >= next_tick) {
        request.tick();
        next_tick = Clock::now() + request.tick_every;
      }
      const auto until = std::chrono::ceil<std::chrono::milliseconds>(next_tick - Clock::now()).count();
      wait_ms = static_cast<int>(std::clamp<std::int64_t>(until, 0, 1000));
    }
    curl_waitfd extra{
        .fd = interruption_ != nullptr ? interruption_->fd() : -1, .events = CURL_WAIT_POLLIN, .revents = 0};
    curl_multi_poll(multi, &extra, interruption_ != nullptr ? 1 : 0, wait_ms, nullptr);
  }
  int left = 0;
  const CURLMsg* done = curl_multi_info_read(multi, &left);
  const CURLcode code = done != nullptr ? done->data.result : CURLE_FAILED_INIT;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &transfer.answer.status);
  if (code == CURLE_OK || transfer.stopped) return {};
  const bool late = code == CURLE_OPERATION_TIMEDOUT;
  return fail({.code = late ? ErrorCode::deadline_exceeded : ErrorCode::io_failed,
               .attempted = "ask the server at",
               .subject = server_.url,
               .reason = curl_easy_strerror(code),
               .mend = code == CURLE_COULDNT_CONNECT ? "start nanoboxd, or name another one with --server" : "",
               .transient = true});
}

Result<ApiAnswer> ApiClient::send(const ApiRequest& request) {
  Transfer transfer;
  NANOBOX_TRY(perform(transfer, request));
  return std::move(transfer.answer);
}

Result<ApiAnswer> ApiClient::ask(const ApiRequest& request) {
  auto answer = NANOBOX_TRY(send(request));
  if (answer.status < 200 || answer.status > 299) return fail(error_of(answer, request));
  return answer;
}

Result<bool> ApiClient::watch(const std::string& path, const std::function<bool(const ServerEvent&)>& on_event) {
  const ApiRequest request{.method = "GET", .path = path, .body = "", .patience = std::chrono::milliseconds{0}};
  Transfer transfer;
  EventStream events;
  transfer.on_bytes = [&](std::string_view bytes) { return std::ranges::all_of(events.take(bytes), on_event); };
  NANOBOX_TRY(perform(transfer, request));
  if (transfer.answer.status < 200 || transfer.answer.status > 299) return fail(error_of(transfer.answer, request));
  return transfer.answer.content_type.starts_with("text/event-stream");
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
