// Shows that the promises are worth testing: this program links Pistache without our mends, and breaks them.
#include <fcntl.h>
#include <pistache/endpoint.h>
#include <pistache/router.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <thread>

#include "promises.hpp"

namespace nanobox::test {
namespace {

using namespace Pistache;

// Serves until it is killed, or until the library ends it.
[[noreturn]] void serve(int port_pipe) {
  const rlimit no_core{.rlim_cur = 0, .rlim_max = 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  for (const int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE}) ::signal(number, SIG_DFL);  // not Catch's report
  const int nowhere = ::open("/dev/null", O_WRONLY);
  ::dup2(nowhere, STDOUT_FILENO);
  ::dup2(nowhere, STDERR_FILENO);
  Rest::Router router;
  const auto big = std::make_shared<const std::string>(big_answer_bytes, 'b');
  Rest::Routes::Get(router, "/hello", [](const Rest::Request&, Http::ResponseWriter writer) {
    writer.send(Http::Code::Ok, "hello");
    return Rest::Route::Result::Ok;
  });
  Rest::Routes::Post(router, "/echo", [](const Rest::Request& request, Http::ResponseWriter writer) {
    writer.send(Http::Code::Ok, request.body());
    return Rest::Route::Result::Ok;
  });
  Rest::Routes::Get(router, "/big", [big](const Rest::Request&, Http::ResponseWriter writer) {
    writer.send(Http::Code::Ok, *big);
    return Rest::Route::Result::Ok;
  });
  Rest::Routes::Get(router, "/stream", [](const Rest::Request&, Http::ResponseWriter writer) {
    std::thread([writer = std::make_shared<Http::ResponseWriter>(std::move(writer))] {
      auto stream = writer->stream(Http::Code::Ok);
      for (const char* word : {"one", "two", "three"}) {
        stream.write(word, static_cast<std::streamsize>(std::string_view(word).size()));
        stream.flush();
      }
      stream.ends();
    }).detach();
    return Rest::Route::Result::Ok;
  });
  Http::Endpoint endpoint(Address("127.0.0.1", Port(0)));
  endpoint.init(Http::Endpoint::options().threads(1).maxRequestSize(1 << 20).maxResponseSize(2 * big_answer_bytes));
  endpoint.setHandler(router.handler());
  endpoint.serveThreaded();
  const std::uint16_t port = endpoint.getPort();
  if (::write(port_pipe, &port, sizeof port) != sizeof port) ::_exit(1);
  for (;;) ::pause();
}

// A stock server in a process of its own, for it may die of a request.
class StockServer {
public:
  StockServer() {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    child_ = ::fork();
    if (child_ == 0) {
      ::close(ends[0]);
      serve(ends[1]);
    }
    ::close(ends[1]);
    REQUIRE(::read(ends[0], &port_, sizeof port_) == sizeof port_);
    ::close(ends[0]);
  }
  ~StockServer() {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
  std::uint16_t port() const { return port_; }

private:
  pid_t child_ = -1;
  std::uint16_t port_ = 0;
};

}  // namespace
}  // namespace nanobox::test

TEST_CASE("stock Pistache breaks what the edge promises", "[http][stock]") {
  using namespace nanobox::test;
  for (const auto& promise : promises()) {
    INFO(promise.name);
    // Some of its faults are races, which it wins at times.
    bool broken = false;
    for (int attempt = 0; attempt < 20 && !broken; ++attempt) {
      StockServer server;
      broken = !promise.is_kept(server.port());
    }
    CHECK(broken);
  }
}
