#include "config/id.hpp"
#include "config/whole_number.hpp"
#include "http/audit.hpp"
#include "http/resources/api.hpp"
#include "http/resources/ask.hpp"
#include "http/resources/socket_client.hpp"

namespace nanobox::http {

namespace {

Result<std::uint16_t> read_count(const Request& request, std::string_view name, std::uint16_t otherwise) {
  const auto text = request.query_parameter(name);
  if (!text) return otherwise;
  const auto count = whole_number<std::uint16_t>(*text);
  if (!count || *count == 0 || *count > 10'000)
    return fail(invalid_parameter("open a terminal", "?" + std::string(name), "must be 1 to 10000",
                                  "leave it out for the usual size"));
  return *count;
}

Result<ExecRequest> read_command(const Request& request) {
  ExecRequest exec{.process_id = make_id("pr")};
  exec.argv = {std::string(request.query_parameter("command").value_or("/bin/sh"))};
  bool term = false;
  for (const auto& [name, value] : request.query_parameters) {
    if (name == "arg") {
      exec.argv.push_back(value);
    } else if (name == "env") {
      if (value.find('=') == std::string::npos || value.front() == '=')
        return fail(invalid_parameter("open a terminal", "?env", "must be NAME=VALUE", "use ?env=LANG=C"));
      term = term || value.starts_with("TERM=");
      exec.env.push_back(value);
    } else if (name != "command" && name != "cols" && name != "rows" && name != "user" && name != "cwd") {
      return fail({.code = ErrorCode::unknown_field,
                   .attempted = "open a terminal",
                   .subject = "",
                   .reason = "there is no parameter '" + name + "'",
                   .mend = "use command, arg, cols, rows, user, cwd, env",
                   .fields = {{"?" + name, "is not known"}}});
    }
  }
  if (exec.argv[0].empty()) return fail(invalid_parameter("open a terminal", "?command", "is empty", "name a program"));
  if (!term) exec.env.emplace_back("TERM=xterm-256color");
  exec.user = request.query_parameter("user").value_or("");
  exec.cwd = request.query_parameter("cwd").value_or("");
  exec.terminal = TerminalSize{.columns = NANOBOX_TRY(read_count(request, "cols", 80)),
                               .rows = NANOBOX_TRY(read_count(request, "rows", 24))};
  return exec;
}

}  // namespace

void add_terminal_route(Router& router, Api& api) {
  router.add(Method::get, "/api/v1/sandboxes/{id}/terminal", [&api](const Request& request, Responder responder) {
    const auto sandbox = running_sandbox_of(api, request);
    if (!sandbox) return responder.send_problem(sandbox.error());
    auto command = read_command(request);
    if (!command) return responder.send_problem(command.error());
    note_command(responder, command->argv);
    auto handshake = read_websocket_handshake(request, responder, {.protocols = {"nanobox.terminal"}});
    if (!handshake) return;
    start_guest_client(api, (*sandbox)->id, std::move(*command),
                       std::make_unique<TerminalSocket>(std::move(*handshake), std::move(responder)));
  });
}

}  // namespace nanobox::http
