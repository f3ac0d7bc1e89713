#pragma once

#include <curl/curl.h>
#include <rapidjson/document.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/error.hpp"
#include "tools/nanobox/interruption.hpp"

namespace nanobox::cli {

/// Where a server is and how to be let in.
struct ServerAddress {
  std::string url;  ///< "http://127.0.0.1:8080", without a slash at the end
  std::string key;  ///< empty: none
};

/// What to ask.
struct ApiRequest {
  std::string method = "GET";
  std::string path;                            ///< behind the URL: "/api/v1/sandboxes"
  std::string body = {};                       ///< JSON; empty: none
  std::chrono::milliseconds patience{30'000};  ///< for the whole answer; 0: as long as it takes
  /// Called every `tick_every` while waiting; may ask things with another client.
  std::function<void()> tick = {};
  std::chrono::milliseconds tick_every{0};
  std::string accept = {};        ///< "text/event-stream"; empty: anything
  std::string content_type = {};  ///< of the body; empty: JSON
  /// The body is not `body`, but what `Transfer::send` is given.
  bool streams_body = false;
  std::int64_t body_bytes = -1;  ///< of a streamed body; -1: not known before
};

struct ApiAnswer {
  long status = 0;
  std::string content_type;
  std::string request_id;
  std::map<std::string, std::string, std::less<>> headers;  ///< names in lower case
  std::string body;
  bool succeeded() const { return status >= 200 && status <= 299; }
  /// "" where there is no such header.
  std::string header(std::string_view name) const;
  /// The body parsed; Null where it is no JSON.
  rapidjson::Document json() const;
};

/// The requests that run at the same time on one thread: what they wait for, with the signals, in one poll.
class TransferLoop {
public:
  /// @param interruption  borrowed; null: cannot be interrupted
  TransferLoop(ServerAddress server, Interruption* interruption);

  /// Waits until a transfer can go on, one of `more` is ready (`revents` says so), a signal came, or `at_most` has
  /// passed; then moves bytes. What a transfer has received is to be taken before: it is nothing to wait for.
  /// @errors cancelled: a signal came
  Result<void> turn(std::span<curl_waitfd> more = {},
                    std::chrono::milliseconds at_most = std::chrono::milliseconds{1000});

  const ServerAddress& server() const { return server_; }
  Interruption* interruption() const { return interruption_; }

private:
  friend class Transfer;
  struct MultiCleanup {
    void operator()(CURLM* handle) const noexcept { curl_multi_cleanup(handle); }
  };
  struct EasyCleanup {
    void operator()(CURL* handle) const noexcept { curl_easy_cleanup(handle); }
  };
  using Easy = std::unique_ptr<CURL, EasyCleanup>;

  ServerAddress server_;
  Interruption* interruption_;
  std::unique_ptr<CURLM, MultiCleanup> multi_;
  std::vector<Easy> idle_;  ///< handles of former transfers
};

/// One request on the wire, its body and the answer's streaming in bounded memory: what is not taken is not received.
/// Runs while its loop turns; dropped before its end, the connection is closed.
class Transfer {
public:
  Transfer(TransferLoop& loop, const ApiRequest& request);
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  /// Waits until status and headers are there. @errors io_failed · deadline_exceeded · cancelled
  Result<void> await_head();
  /// Waits for the next bytes of the answer; empty: that was all.
  Result<std::string> next();
  /// What has come and was not taken, without waiting.
  std::string take();
  /// Whether status and headers are there.
  bool has_head() const { return has_head_; }
  /// Whether nothing more will come, well or not.
  bool ended() const { return ended_; }
  /// How it ended. @errors io_failed: unreachable, cut · deadline_exceeded
  Result<void> outcome() const;

  /// Sends a piece of a streamed body; waits while much is on its way. After the end of the answer (the server wants no
  /// more) it is dropped.
  Result<void> send(std::string_view bytes);
  /// The end of a streamed body.
  void end_body();

  /// Its status and headers; the body's bytes are `next`'s, but for `collect`.
  const ApiAnswer& answer() const { return answer_; }
  /// Waits for the end; the rest of the answer with its body (the first MiB where it is longer).
  Result<ApiAnswer> collect();

private:
  friend class TransferLoop;
  void set_options(const ApiRequest& request);
  void resume();
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_bytes(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_wanted(char* data, std::size_t size, std::size_t count, void* self);

  TransferLoop& loop_;
  TransferLoop::Easy easy_;
  struct ListFree {
    void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
  };
  std::unique_ptr<curl_slist, ListFree> headers_;
  std::string url_;
  std::string body_;
  ApiAnswer answer_;
  std::string received_;
  std::string unsent_;
  bool body_ended_ = false;
  bool receive_paused_ = false;
  bool send_paused_ = false;
  bool has_head_ = false;
  bool ended_ = false;
  CURLcode code_ = CURLE_OK;
};

}  // namespace nanobox::cli
