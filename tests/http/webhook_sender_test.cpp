#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "actors/node.hpp"
#include "actors/webhook_sender.hpp"
#include "edge_fixture.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

/// A receiver that answers as told, and remembers what it took.
struct Receiver {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<http::Request> requests;
  std::vector<int> answers;  ///< then 204
  Edge edge{router()};

  http::Router router() {
    http::Router routes;
    routes.add(http::Method::post, "/hook", [this](const http::Request& request, http::Responder responder) {
      int status = 204;
      {
        const std::lock_guard lock(mutex);
        if (requests.size() < answers.size()) status = answers[requests.size()];
        requests.push_back(request);
      }
      http::Headers headers;
      if (status == 302) headers.emplace_back("Location", "/elsewhere");
      responder.send(status, "", headers);
      changed.notify_all();
    });
    return routes;
  }
  std::vector<std::string> deliveries(std::size_t count) {
    std::unique_lock lock(mutex);
    REQUIRE(changed.wait_for(lock, 10s, [&] { return requests.size() >= count; }));
    std::vector<std::string> ids;
    for (const auto& request : requests) ids.emplace_back(request.header("x-nanobox-delivery").value_or(""));
    return ids;
  }
};

/// A webhook's sender that has few attempts, one soon after the other.
class Sender {
public:
  explicit Sender(std::string url)
      : queue(std::make_shared<WebhookQueue>(
            Settings::Events::Webhook{.url = std::move(url), .secret = "0123456789abcdef", .types = {"sandbox."}})),
        actor_(system_.spawn<caf::detached>(
            webhook_sender, queue, stop_,
            WebhookRetry{.attempts = 3, .first_pause = 2ms, .longest_pause = 5ms, .timeout = 5s})) {}
  ~Sender() {
    *stop_ = true;
    caf::anon_send_exit(actor_, caf::exit_reason::user_shutdown);
  }
  std::string add(const std::string& type) {
    return ring->add({.type = type, .subject = "sb-1", .node_id = "", .owner = "ann"})->id;
  }
  WebhookQueue::Status settled() const {
    const auto end = std::chrono::steady_clock::now() + 10s;
    while (queue->status().pending > 0 && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(2ms);
    return queue->status();
  }

  std::shared_ptr<EventRing> ring = std::make_shared<EventRing>(100);
  std::shared_ptr<WebhookQueue> queue;

private:
  std::shared_ptr<std::atomic<bool>> stop_ = std::make_shared<std::atomic<bool>>(false);
  ActorSystemConfig config_;
  caf::actor_system system_{config_};
  caf::actor actor_;
  EventRing::Watch watch_ = feed_webhook(*ring, queue, actor_);
};

std::string url_of(const Receiver& receiver) {
  return "http://127.0.0.1:" + std::to_string(receiver.edge.port()) + "/hook";
}

}  // namespace

TEST_CASE("a webhook is told signed, in order, and again where it failed", "[webhook]") {
  Receiver receiver;
  Sender sender(url_of(receiver));
  receiver.answers = {500, 302};
  const auto first = sender.add("sandbox.running");
  sender.add("node.lost");
  const auto second = sender.add("sandbox.ended");
  CHECK(receiver.deliveries(4) == std::vector<std::string>{first, first, first, second});
  const auto status = sender.settled();
  CHECK(status.delivered == 2);
  CHECK(status.failed_attempts == 2);
  CHECK(status.dead_letters == 0);
  const std::lock_guard lock(receiver.mutex);
  const auto& request = receiver.requests.back();
  CHECK(request.header("x-nanobox-event") == "sandbox.ended");
  CHECK(request.header("content-type") == "application/json");
  const std::string signature(request.header("x-nanobox-signature").value_or(""));
  const auto time = std::stoll(signature.substr(2));
  CHECK(signature == webhook_signature("0123456789abcdef", time, request.body));
  CHECK(request.body.find(second) != std::string::npos);
}

TEST_CASE("what a webhook does not take is given up, and the next is tried", "[webhook]") {
  Receiver receiver;
  Sender sender(url_of(receiver));
  receiver.answers = {500, 404, 503};
  const auto first = sender.add("sandbox.running");
  const auto second = sender.add("sandbox.ended");
  CHECK(receiver.deliveries(4) == std::vector<std::string>{first, first, first, second});
  const auto status = sender.settled();
  CHECK(status.dead_letters == 1);
  CHECK(status.failed_attempts == 3);
  CHECK(status.last_error.empty());
}

TEST_CASE("a webhook that nobody answers for says so", "[webhook]") {
  std::uint16_t port = 0;
  { port = Receiver().edge.port(); }
  Sender sender("http://127.0.0.1:" + std::to_string(port) + "/hook");
  const auto end = std::chrono::steady_clock::now() + 10s;
  sender.add("sandbox.running");
  while (sender.queue->status().dead_letters == 0 && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(2ms);
  const auto status = sender.queue->status();
  CHECK(status.dead_letters == 1);
  CHECK_FALSE(status.last_error.empty());
  CHECK(status.delivered == 0);
}
