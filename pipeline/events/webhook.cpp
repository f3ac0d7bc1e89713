#include "pipeline/events/webhook.hpp"

#include <curl/curl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>

#include "config/event_types.hpp"

namespace nanobox {

namespace {

struct FreeEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

std::string hex_of(const unsigned char* bytes, std::size_t count) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (std::size_t at = 0; at < count; ++at) {
    text += digits[bytes[at] >> 4];
    text += digits[bytes[at] & 15];
  }
  return text;
}

Error not_told(const Settings::Events::Webhook& hook, const Event& event, std::string reason) {
  // Not its query, which may hold a secret.
  return {.code = ErrorCode::connection_failed,
          .attempted = "tell " + hook.url.substr(0, hook.url.find('?')) + " of",
          .subject = event.id,
          .reason = std::move(reason),
          .mend = "",
          .transient = true};
}

std::size_t drop(char*, std::size_t size, std::size_t count, void*) noexcept {
  return size * count;
}

int go_on(void* stop, curl_off_t, curl_off_t, curl_off_t, curl_off_t) noexcept {
  return static_cast<const std::atomic<bool>*>(stop)->load() ? 1 : 0;
}

}  // namespace

std::chrono::milliseconds pause_after(const WebhookRetry& retry, std::uint32_t attempts, double chance) {
  const auto doublings = std::min<std::uint32_t>(attempts - 1, 20);
  const auto whole = std::min(retry.first_pause * (std::int64_t{1} << doublings), retry.longest_pause);
  const auto half = whole / 2;
  return half + std::chrono::milliseconds(static_cast<std::int64_t>(static_cast<double>(half.count()) * chance));
}

std::string webhook_signature(std::string_view secret, std::int64_t unix_seconds, std::string_view body) {
  const auto time = std::to_string(unix_seconds);
  const auto text = time + "." + std::string(body);
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac{};
  unsigned int size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac.data(), &size);
  return "t=" + time + ",v1=" + hex_of(mac.data(), size);
}

Result<void> post_event(const Settings::Events::Webhook& hook, const Event& event, std::chrono::milliseconds timeout,
                        const std::atomic<bool>& stop) {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);  // once, thread-safe by the language
  const std::unique_ptr<CURL, FreeEasy> easy(started == CURLE_OK ? curl_easy_init() : nullptr);
  if (!easy) return fail(not_told(hook, event, "out of memory"));
  const auto body = to_json(event);
  const auto unix_seconds = std::chrono::duration_cast<std::chrono::seconds>(wall_now().time_since_epoch()).count();
  std::unique_ptr<curl_slist, FreeList> headers;
  for (const auto& header :
       {std::string("Content-Type: application/json"), "X-NanoBox-Event: " + event.type,
        "X-NanoBox-Delivery: " + event.id, "X-NanoBox-Signature: " + webhook_signature(hook.secret, unix_seconds, body),
        std::string("User-Agent: NanoBox"), std::string("Expect:")}) {
    auto* longer = curl_slist_append(headers.get(), header.c_str());
    if (longer == nullptr) return fail(not_told(hook, event, "out of memory"));
    (void)headers.release();
    headers.reset(longer);
  }
  std::array<char, CURL_ERROR_SIZE> detail{};
  auto* const curl = easy.get();
  curl_easy_setopt(curl, CURLOPT_URL, hook.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(timeout.count()));
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &drop);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail.data());
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &go_on);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, const_cast<std::atomic<bool>*>(&stop));
  if (const auto code = curl_easy_perform(curl); code != CURLE_OK)
    return fail(not_told(hook, event, detail[0] != '\0' ? detail.data() : curl_easy_strerror(code)));
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  if (status / 100 != 2) return fail(not_told(hook, event, "the receiver answered " + std::to_string(status)));
  return {};
}

bool WebhookQueue::add(const EventRing::Value& event) {
  if (!names_event(hook_.types, event->type)) return false;
  const std::lock_guard lock(mutex_);
  events_.push_back(event);
  if (events_.size() > most_) {
    events_.erase(events_.begin() + 1);
    ++status_.dead_letters;
  }
  return events_.size() == 1;
}

EventRing::Value WebhookQueue::front() const {
  const std::lock_guard lock(mutex_);
  return events_.empty() ? nullptr : events_.front();
}

void WebhookQueue::delivered() {
  const std::lock_guard lock(mutex_);
  events_.pop_front();
  ++status_.delivered;
  status_.last_delivered_at = wall_now();
  status_.last_error.clear();
}

void WebhookQueue::failed(const Error& error) {
  const std::lock_guard lock(mutex_);
  ++status_.failed_attempts;
  status_.last_error = error.reason;
}

void WebhookQueue::give_up() {
  const std::lock_guard lock(mutex_);
  events_.pop_front();
  ++status_.dead_letters;
}

WebhookQueue::Status WebhookQueue::status() const {
  const std::lock_guard lock(mutex_);
  auto status = status_;
  status.pending = events_.size();
  return status;
}

}  // namespace nanobox
