#include "tools/nanobox/transfer.hpp"

#include <algorithm>
#include <cctype>

namespace nanobox::cli {
namespace {

constexpr std::size_t kMostReceived = 256U << 10;
constexpr std::size_t kMostUnsent = 256U << 10;
constexpr std::size_t kMostCollected = 1U << 20;

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

std::string ApiAnswer::header(std::string_view name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

rapidjson::Document ApiAnswer::json() const {
  rapidjson::Document document;
  document.Parse<rapidjson::kParseValidateEncodingFlag | rapidjson::kParseIterativeFlag>(body.data(), body.size());
  if (document.HasParseError()) document.SetNull();
  return document;
}

TransferLoop::TransferLoop(ServerAddress server, Interruption* interruption)
    : server_(std::move(server)), interruption_(interruption), multi_(curl_multi_init()) {}

Result<void> TransferLoop::turn(std::span<curl_waitfd> more, std::chrono::milliseconds at_most) {
  if (interruption_ != nullptr && interruption_->check()) return fail(cancelled());
  std::vector<curl_waitfd> waiting(more.begin(), more.end());
  if (interruption_ != nullptr)
    waiting.push_back({.fd = interruption_->fd(), .events = CURL_WAIT_POLLIN, .revents = 0});
  curl_multi_poll(multi_.get(), waiting.data(), static_cast<unsigned>(waiting.size()),
                  static_cast<int>(std::max<std::int64_t>(0, at_most.count())), nullptr);
  std::copy_n(waiting.begin(), more.size(), more.begin());
  int running = 0;
  curl_multi_perform(multi_.get(), &running);
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    char* transfer = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    reinterpret_cast<Transfer*>(transfer)->code_ = message->data.result;
    reinterpret_cast<Transfer*>(transfer)->ended_ = true;
  }
  if (interruption_ != nullptr && interruption_->check()) return fail(cancelled());
  return {};
}

Transfer::Transfer(TransferLoop& loop, const ApiRequest& request) : loop_(loop) {
  if (!loop_.idle_.empty()) {
    easy_ = std::move(loop_.idle_.back());
    loop_.idle_.pop_back();
  } else {
    easy_.reset(curl_easy_init());
  }
  set_options(request);
  curl_multi_add_handle(loop_.multi_.get(), easy_.get());
}

Transfer::~Transfer() {
  curl_multi_remove_handle(loop_.multi_.get(), easy_.get());
  curl_easy_reset(easy_.get());
  loop_.idle_.push_back(std::move(easy_));
}

void Transfer::set_options(const ApiRequest& request) {
  CURL* easy = easy_.get();
  url_ = loop_.server().url + request.path;
  body_ = request.body;
  curl_easy_setopt(easy, CURLOPT_PRIVATE, this);
  curl_easy_setopt(easy, CURLOPT_URL, url_.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(request.patience.count()));
  // Who waits for as long as it takes still notices that the server's host is gone.
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, 20L);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 10L);
  curl_easy_setopt(easy, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1");
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, static_cast<long>(kMostReceived));
  if (request.method == "HEAD") curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);

  const auto append = [this](const std::string& line) {
    headers_.reset(curl_slist_append(headers_.release(), line.c_str()));
  };
  append("User-Agent: nanobox");
  append("Expect:");
  if (!loop_.server().key.empty()) append("Authorization: Bearer " + loop_.server().key);
  if (!request.accept.empty()) append("Accept: " + request.accept);
  if (request.streams_body || !body_.empty())
    append("Content-Type: " + (request.content_type.empty() ? "application/json" : request.content_type));
  if (request.streams_body) {
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, static_cast<long>(kMostUnsent));
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.body_bytes));
    curl_easy_setopt(easy, CURLOPT_READDATA, this);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, &Transfer::on_wanted);
  } else if (!body_.empty() || request.method == "POST" || request.method == "PUT") {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body_.data());
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body_.size()));
  }
  curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers_.get());
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Transfer::on_bytes);
}

std::size_t Transfer::on_header(char* data, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  auto& answer = transfer.answer_;
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) {
    answer = {};
    return line.size();
  }
  if (trimmed(line).empty()) {
    curl_easy_getinfo(transfer.easy_.get(), CURLINFO_RESPONSE_CODE, &answer.status);
    transfer.has_head_ = answer.status >= 200;
    return line.size();
  }
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return line.size();
  std::string name(line.substr(0, colon));
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto value = trimmed(line.substr(colon + 1));
  if (name == "content-type") answer.content_type = value;
  if (name == "x-request-id") answer.request_id = value;
  answer.headers[name] = value;
  return line.size();
}

std::size_t Transfer::on_bytes(char* data, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  if (transfer.received_.size() >= kMostReceived) {
    transfer.receive_paused_ = true;
    return CURL_WRITEFUNC_PAUSE;
  }
  transfer.received_.append(data, size * count);
  return size * count;
}

std::size_t Transfer::on_wanted(char* data, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  if (transfer.unsent_.empty()) {
    if (transfer.body_ended_) return 0;
    transfer.send_paused_ = true;
    return CURL_READFUNC_PAUSE;
  }
  const auto taken = std::min(size * count, transfer.unsent_.size());
  std::copy_n(transfer.unsent_.begin(), taken, data);
  transfer.unsent_.erase(0, taken);
  return taken;
}

void Transfer::resume() {
  if (ended_) return;
  curl_easy_pause(easy_.get(), (receive_paused_ ? CURLPAUSE_RECV : 0) | (send_paused_ ? CURLPAUSE_SEND : 0));
}

std::string Transfer::take() {
  std::string bytes = std::move(received_);
  received_.clear();
  if (receive_paused_) {
    receive_paused_ = false;
    resume();
  }
  return bytes;
}

Result<void> Transfer::outcome() const {
  if (code_ == CURLE_OK) return {};
  const bool late = code_ == CURLE_OPERATION_TIMEDOUT;
  return fail({.code = late ? ErrorCode::deadline_exceeded : ErrorCode::io_failed,
               .attempted = "ask the server at",
               .subject = loop_.server().url,
               .reason = curl_easy_strerror(code_),
               .mend = code_ == CURLE_COULDNT_CONNECT ? "start nanoboxd, or name another one with --server" : "",
               .transient = true});
}

Result<void> Transfer::await_head() {
  while (!has_head_ && !ended_) NANOBOX_TRY(loop_.turn());
  return has_head_ ? Result<void>{} : outcome();
}

Result<std::string> Transfer::next() {
  for (;;) {
    if (auto bytes = take(); !bytes.empty()) return bytes;
    if (ended_) {
      NANOBOX_TRY(outcome());
      return std::string{};
    }
    NANOBOX_TRY(loop_.turn());
  }
}

Result<void> Transfer::send(std::string_view bytes) {
  while (unsent_.size() >= kMostUnsent && !ended_) {
    NANOBOX_TRY(loop_.turn());
    // An answer before the end of the request's body refuses it: nobody reads the rest.
    if (has_head_ && !answer_.succeeded()) return {};
  }
  if (ended_) return {};
  unsent_ += bytes;
  if (send_paused_) {
    send_paused_ = false;
    resume();
  }
  return {};
}

void Transfer::end_body() {
  body_ended_ = true;
  if (!send_paused_) return;
  send_paused_ = false;
  resume();
}

Result<ApiAnswer> Transfer::collect() {
  for (;;) {
    const auto bytes = take();
    answer_.body.append(bytes, 0, kMostCollected - std::min(kMostCollected, answer_.body.size()));
    if (bytes.empty() && ended_) break;
    if (bytes.empty()) NANOBOX_TRY(loop_.turn());
  }
  // A server that refuses early may close before it has read everything; what it said counts.
  if (!(has_head_ && !answer_.succeeded())) NANOBOX_TRY(outcome());
  return std::move(answer_);
}

}  // namespace nanobox::cli
