#include "http/access_log.hpp"

#include <unistd.h>
#include <catch2/catch.hpp>

#include <cstdio>
#include <functional>
#include <memory>

#include "config/log_levels.hpp"

using namespace nanobox;
using namespace nanobox::http;
using namespace std::chrono_literals;

namespace {

ServedRequest request(int status) {
  ServedRequest made;
  made.method = Method::post;
  made.route = "/api/v1/sandboxes/{id}/exec";
  made.path = "/api/v1/sandboxes/sb-1/exec?token=hidden";
  made.subject = "sb-1";
  made.owner = "ann";
  made.request_id = "rq-1";
  made.status = status;
  made.duration = 12'345us;
  made.notes = {{"command", "planted"}, {"code", "conflict"}, {"detail", "somebody else is at it"}};
  return made;
}

/// What `does` writes to stderr.
std::string logged(const std::function<void()>& does) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), std::fclose);
  REQUIRE(file);
  std::fflush(stderr);
  const int before = ::dup(STDERR_FILENO);
  ::dup2(::fileno(file.get()), STDERR_FILENO);
  does();
  std::fflush(stderr);
  ::dup2(before, STDERR_FILENO);
  ::close(before);
  std::rewind(file.get());
  std::string text;
  for (int c = std::fgetc(file.get()); c != EOF; c = std::fgetc(file.get())) text.push_back(static_cast<char>(c));
  return text;
}

/// What the access log says of it at that level.
std::string access_line(const ServedRequest& served, LogLevel level) {
  set_log_levels({.level = level});
  auto text = logged([&] { access_log()(served); });
  set_log_levels({});
  return text;
}

}  // namespace

TEST_CASE("a request is a line at level debug, with what identifies it and without its query", "[http][log]") {
  CHECK(access_line(request(409), LogLevel::debug)
            .find("debug http:    answered request=rq-1 method=POST path=/api/v1/sandboxes/sb-1/exec status=409 "
                  "code=conflict duration_ms=12 owner=ann sandbox=sb-1\n") != std::string::npos);
  CHECK(access_line(request(409), LogLevel::info).empty());
}

TEST_CASE("a request that the server failed at is a warning that says why; want of capacity is none", "[http][log]") {
  const auto failed = access_line(request(500), LogLevel::warn);
  CHECK(failed.find("warn  http:") != std::string::npos);
  CHECK(failed.find("detail=\"somebody else is at it\"\n") != std::string::npos);
  CHECK(access_line(request(503), LogLevel::info).empty());
}

TEST_CASE("a client that went before an answer is told so, without a status", "[http][log]") {
  const auto line = access_line(request(0), LogLevel::debug);
  CHECK(line.find("the client went before an answer") != std::string::npos);
  CHECK(line.find("status=") == std::string::npos);
}

TEST_CASE("a command is not in the access log", "[http][log]") {
  CHECK(access_line(request(200), LogLevel::trace).find("planted") == std::string::npos);
}
