#include "tools/nanobox/warm_up.hpp"

#include "tools/nanobox/json.hpp"
#include "tools/nanobox/warmup_progress.hpp"

namespace nanobox::cli {
namespace {

/// How often a cut stream of progress is asked for again.
constexpr int kMostConnections = 20;

void put_prime(JsonWriter& json, const PrimeCall& prime) {
  json_key(json, "prime");
  json.StartObject();
  json_put(json, "command", "/bin/sh");
  json_key(json, "args");
  json.StartArray();
  json_string(json, "-c");
  json_string(json, prime.command);
  json.EndArray();
  json_key(json, "background");
  json.Bool(prime.background);
  if (prime.ready_port || !prime.ready_command.empty()) {
    json_key(json, "ready");
    json.StartObject();
    if (prime.ready_port) json_put(json, "port", *prime.ready_port);
    if (!prime.ready_command.empty()) json_put(json, "command", prime.ready_command);
    if (prime.ready_sec) json_put(json, "timeout_ms", *prime.ready_sec * 1000);
    json.EndObject();
  }
  json.EndObject();
}

std::string request_body(const WarmUp& wanted) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  json_put(json, "name", wanted.name);
  json_put(json, "image", wanted.image);
  if (!wanted.platform.empty()) json_put(json, "platform", wanted.platform);
  if (!wanted.username.empty()) {
    json_key(json, "credentials");
    json.StartObject();
    json_put(json, "username", wanted.username);
    json_put(json, "password", wanted.password);
    json.EndObject();
  }
  if (wanted.vcpu || wanted.memory_mb || wanted.disk_mb) {
    json_key(json, "resources");
    json.StartObject();
    if (wanted.vcpu) json_put(json, "vcpu", *wanted.vcpu);
    if (wanted.memory_mb) json_put(json, "memory_mb", *wanted.memory_mb);
    if (wanted.disk_mb) json_put(json, "disk_mb", *wanted.disk_mb);
    json.EndObject();
  }
  if (!wanted.snapshot) {
    json_key(json, "snapshot");
    json.Bool(false);
  }
  if (wanted.prime) put_prime(json, *wanted.prime);
  if (wanted.force) {
    json_key(json, "force");
    json.Bool(true);
  }
  json.EndObject();
  return buffer.GetString();
}

bool is_final(const rapidjson::Value& status) {
  const auto text = json_text(status, "status");
  return text == "ready" || text == "failed";
}

Error failure_of(const rapidjson::Value& status, const WarmUp& wanted) {
  const auto* problem = json_member(status, "error");
  if (problem != nullptr && problem->IsObject()) return error_of_problem(*problem);
  return {.code = ErrorCode::io_failed,
          .attempted = "warm up",
          .subject = wanted.image,
          .reason = "it failed, and the server does not say why",
          .mend = "see the server's log"};
}

/// Follows the status until it is final. A stream that ends early is asked again, each time from the current state.
Result<rapidjson::Document> follow(ApiClient& client, const WarmUp& wanted) {
  WarmupProgress progress(wanted.quiet);
  const std::string path = "/api/v1/templates/" + url_encode(wanted.name) + "/status";
  for (int connection = 0; connection < kMostConnections; ++connection) {
    rapidjson::Document last;
    bool heard = false;
    const auto watched = client.watch(path + "?watch=1", [&](const ServerEvent& event) {
      rapidjson::Document status;
      status.Parse(event.data.data(), event.data.size());
      if (status.HasParseError() || !status.IsObject()) return true;
      heard = true;
      progress.show(status);
      last = std::move(status);
      return true;  // until the server ends it: the last stage is still on its way when the template is ready
    });
    if (!watched && (!heard || watched.error().code == ErrorCode::cancelled)) return fail(watched.error());
    if (!heard || !is_final(last)) {
      last = NANOBOX_TRY(client.ask({.method = "GET", .path = path})).json();
      progress.show(last);
    }
    if (is_final(last)) return last;
    if (!heard) break;
  }
  return fail({.code = ErrorCode::io_failed,
               .attempted = "follow warmup",
               .subject = wanted.name,
               .reason = "the server keeps ending the stream of its progress",
               .mend = "see 'nanobox templates'"});
}

}  // namespace

Result<std::string> warm_up(ApiClient& client, const WarmUp& wanted) {
  const auto accepted = NANOBOX_TRY(client.ask({.method = "POST",
                                                .path = "/api/v1/templates/warmup",
                                                .body = request_body(wanted),
                                                .patience = std::chrono::seconds{60}}));
  if (accepted.status != 200) {
    const auto status = NANOBOX_TRY(follow(client, wanted));
    if (json_text(status, "status") != "ready") return fail(failure_of(status, wanted));
  }
  return NANOBOX_TRY(client.ask({.method = "GET", .path = "/api/v1/templates/" + url_encode(wanted.name)})).body;
}

Result<std::optional<PrimeCall>> read_prime(const Arguments& arguments) {
  const auto refuse = [](std::string option, std::string reason, std::string mend) {
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "read command line",
                 .subject = std::move(option),
                 .reason = std::move(reason),
                 .mend = std::move(mend)});
  };
  PrimeCall prime{.command = arguments.value("prime").value_or(""),
                  .background = arguments.has("prime-background"),
                  .ready_port = NANOBOX_TRY(number_option(arguments, "prime-ready-port", 1, 65'535)),
                  .ready_command = arguments.value("prime-ready-command").value_or(""),
                  .ready_sec = NANOBOX_TRY(number_option(arguments, "prime-ready-timeout", 1, 3600))};
  if (!arguments.has("prime")) {
    for (const char* option : {"prime-background", "prime-ready-port", "prime-ready-command", "prime-ready-timeout"})
      if (arguments.has(option))
        return refuse("--" + std::string(option), "it goes with --prime", "add --prime COMMAND");
    return std::nullopt;
  }
  if (prime.command.empty()) return refuse("--prime", "the command is empty", "");
  if (arguments.has("no-snapshot"))
    return refuse("--prime", "only a snapshot keeps what it makes", "leave out --prime, or --no-snapshot");
  if (prime.ready_port && !prime.ready_command.empty())
    return refuse("--prime-ready-port", "--prime-ready-command is given too", "leave one of them out");
  const bool has_ready = prime.ready_port || !prime.ready_command.empty();
  if (prime.ready_sec && !has_ready)
    return refuse("--prime-ready-timeout", "there is nothing to wait for",
                  "add --prime-ready-port PORT or --prime-ready-command COMMAND");
  prime.background = prime.background || has_ready;
  return prime;
}

Result<SizeOptions> read_sizes(const Arguments& arguments) {
  SizeOptions sizes;
  sizes.vcpu = NANOBOX_TRY(number_option(arguments, "vcpu", 1, 32));
  sizes.memory_mb = NANOBOX_TRY(size_mb_option(arguments, "memory"));
  sizes.disk_mb = NANOBOX_TRY(size_mb_option(arguments, "disk"));
  return sizes;
}

}  // namespace nanobox::cli
