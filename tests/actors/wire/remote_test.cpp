#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>
#include <caf/io/middleman.hpp>
#include <caf/scoped_actor.hpp>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <mutex>

#include "tests/actors/wire/wire_values.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;

namespace {

struct NetworkedConfig : caf::actor_system_config {
  NetworkedConfig() {
    add_message_types<caf::id_block::nanobox>();
    load<caf::io::middleman>();
    set("scheduler.max-threads", 2);
    set("scheduler.policy", caf::atom("sharing"));
  }
};

/// What a node's face would offer.
using Desk = caf::typed_actor<caf::replies_to<create_atom, Sandbox>::with<Sandbox>,
                              caf::replies_to<open_atom, StreamRequest, StreamSink>::with<GuestStream>>::
    extend<caf::reacts_to<grant_atom, std::uint32_t, std::uint32_t>,
           caf::reacts_to<write_atom, std::uint32_t, std::string, bool>,
           caf::reacts_to<signal_atom, std::uint32_t, std::uint32_t>,
           caf::reacts_to<resize_atom, std::uint32_t, TerminalSize>, caf::reacts_to<close_atom, std::uint32_t>>;

/// Answers a sandbox with itself, running; echoes what is written to a stream and ends it with the last of it.
Desk::behavior_type desk(Desk::pointer self) {
  const auto sink = std::make_shared<StreamSink>();
  return {
      [](create_atom, Sandbox& sandbox) -> caf::result<Sandbox> {
        if (sandbox.id == "bad") return caf::error(ErrorCode::no_capacity, full_error(ErrorCode::no_capacity));
        sandbox.status = SandboxStatus::running;
        return std::move(sandbox);
      },
      [self, sink](open_atom, StreamRequest& request, StreamSink& who) {
        *sink = who;
        auto opened = full_opened();
        opened.pid = std::get<AttachRequest>(request).pid;
        self->send(who, opened_atom_v, opened);
        return GuestStream{.source = StreamSource(Desk(self)), .number = opened.stream};
      },
      [](grant_atom, std::uint32_t, std::uint32_t) {},
      [self, sink](write_atom, std::uint32_t number, const std::string& bytes, bool last) {
        StreamData data{.stream = number, .part = StreamPart::stdout_part, .bytes = {}, .last = last};
        for (const char byte : bytes) data.bytes.push_back(static_cast<std::byte>(byte));
        self->send(*sink, bytes_atom_v, std::move(data));
        if (last) self->send(*sink, exit_atom_v, StreamExit{.stream = number, .exit_code = 3});
      },
      [](signal_atom, std::uint32_t, std::uint32_t) {},
      [self, sink](resize_atom, std::uint32_t number, TerminalSize size) {
        self->send(*sink, window_atom_v, StdinWindow{.stream = number, .queued = size.columns});
        self->send(*sink, gap_atom_v, OutputGap{.stream = number, .offset = size.rows});
      },
      [self, sink](close_atom, std::uint32_t) { self->send(*sink, failed_atom_v, full_error(ErrorCode::guest_gone)); }};
}

/// What a sink was told, for another thread.
struct Told {
  std::mutex mutex;
  std::condition_variable more;
  std::optional<Opened> opened;
  std::string bytes;
  std::optional<StdinWindow> window;
  std::optional<OutputGap> gap;
  std::optional<StreamExit> exit;
  std::optional<Error> failed;

  template <class Change>
  void note(Change change) {
    const std::lock_guard lock(mutex);
    change();
    more.notify_all();
  }
  template <class Condition>
  bool comes(Condition condition) {
    std::unique_lock lock(mutex);
    return more.wait_for(lock, 20s, condition);
  }
};

StreamSink::behavior_type listen(const std::shared_ptr<Told>& told) {
  return {[told](opened_atom, const Opened& opened) { told->note([&] { told->opened = opened; }); },
          [told](bytes_atom, const StreamData& data) { told->note([&] { told->bytes += data.text(); }); },
          [told](gap_atom, const OutputGap& gap) { told->note([&] { told->gap = gap; }); },
          [told](window_atom, const StdinWindow& window) { told->note([&] { told->window = window; }); },
          [told](exit_atom, const StreamExit& exit) { told->note([&] { told->exit = exit; }); },
          [told](failed_atom, const Error& error) { told->note([&] { told->failed = error; }); }};
}

/// Two nodes of one process; the desk is on the other one.
class TwoNodes {
protected:
  TwoNodes() : here(here_config), there(there_config), own_desk(there.spawn(desk)) {
    const auto port = there.middleman().publish(own_desk, 0, "127.0.0.1");
    REQUIRE(port);
    auto found = here.middleman().remote_actor<Desk>("127.0.0.1", *port);
    if (!found) FAIL(here.render(found.error()));
    remote = *found;
    REQUIRE(remote.node() != here.node());
  }
  ~TwoNodes() {
    remote = nullptr;
    caf::anon_send_exit(own_desk, caf::exit_reason::user_shutdown);
  }

  caf::expected<Sandbox> ask(const Sandbox& sandbox, std::chrono::milliseconds deadline = 20s) {
    caf::expected<Sandbox> answer{caf::error{}};
    caf::scoped_actor self(here);
    self->request(remote, deadline, create_atom_v, sandbox)
        .receive([&](Sandbox& value) { answer = std::move(value); }, [&](caf::error& error) { answer = error; });
    return answer;
  }

  NetworkedConfig here_config, there_config;
  caf::actor_system here, there;
  Desk own_desk, remote;
};

}  // namespace

TEST_CASE_METHOD(TwoNodes, "another node answers a sandbox with a sandbox", "[wire]") {
  auto expected = full_sandbox();
  const auto answer = ask(expected);
  REQUIRE(answer);
  expected.status = SandboxStatus::running;
  CHECK(*answer == expected);
}

TEST_CASE_METHOD(TwoNodes, "another node's error comes with all that it says", "[wire]") {
  const auto answer = ask(sandbox_named("bad"));
  REQUIRE_FALSE(answer);
  REQUIRE(answer.error().category() == caf::atom("nanobox"));
  REQUIRE(answer.error().context().match_elements<Error>());
  CHECK(answer.error().context().get_as<Error>(0) == full_error(ErrorCode::no_capacity));
}

TEST_CASE_METHOD(TwoNodes, "a request that cannot be read is refused, and the next one answered", "[wire]") {
  const auto answer = ask(sandbox_in(static_cast<SandboxStatus>(99)));
  REQUIRE_FALSE(answer);
  // CAF hands the receiver an empty message instead.
  CHECK(answer.error() == caf::sec::unexpected_message);
  CHECK(ask(sandbox_named("next")));
}

TEST_CASE_METHOD(TwoNodes, "a sink hears of a stream on another node, and its writer is heard there", "[wire]") {
  const auto told = std::make_shared<Told>();
  const StreamSink sink = here.spawn([told](StreamSink::pointer) { return listen(told); });
  std::optional<GuestStream> stream;
  {
    caf::scoped_actor self(here);
    self->request(remote, 20s, open_atom_v, StreamRequest{AttachRequest{.process_id = "p", .pid = 77}}, sink)
        .receive([&](GuestStream& opened) { stream = opened; }, [&](caf::error& error) { FAIL(here.render(error)); });
  }
  REQUIRE(stream);
  CHECK(stream->number == full_opened().stream);
  CHECK(stream->source.node() == there.node());

  auto expected = full_opened();
  expected.pid = 77;
  REQUIRE(told->comes([&] { return told->opened.has_value(); }));
  CHECK(told->opened == expected);

  const std::string large(std::size_t{256} << 10, '\xfe');
  stream->resize({.columns = 11, .rows = 12});
  stream->write(large, false);
  stream->write("end", true);
  REQUIRE(told->comes([&] { return told->exit.has_value(); }));
  CHECK(told->bytes == large + "end");
  CHECK(told->exit == StreamExit{.stream = stream->number, .exit_code = 3});
  CHECK(told->window == StdinWindow{.stream = stream->number, .queued = 11});
  CHECK(told->gap == OutputGap{.stream = stream->number, .offset = 12});

  stream->close();
  REQUIRE(told->comes([&] { return told->failed.has_value(); }));
  CHECK(told->failed == full_error(ErrorCode::guest_gone));
  stream.reset();
  caf::anon_send_exit(sink, caf::exit_reason::user_shutdown);
}

TEST_CASE_METHOD(TwoNodes, "a stream without a source is none", "[wire]") {
  std::vector<char> wire;
  {
    caf::binary_serializer sink(here, wire);
    GuestStream stream{.source = {}, .number = 1};
    CHECK(sink(stream));
  }
  {
    wire.clear();
    caf::binary_serializer sink(here, wire);
    REQUIRE_FALSE(sink(StreamSource{}, std::uint32_t{1}));
    caf::binary_deserializer source(here, wire);
    GuestStream read;
    CHECK(source(read));
  }
  wire.clear();
  caf::binary_serializer sink(here, wire);
  GuestStream stream{.source = StreamSource(remote), .number = 5};
  REQUIRE_FALSE(sink(stream));
  for (std::size_t size = 0; size < wire.size(); ++size) {
    caf::binary_deserializer source(here, wire.data(), size);
    GuestStream read;
    CHECK(source(read));
    CHECK_FALSE(read.source);
  }
}
