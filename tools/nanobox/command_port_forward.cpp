#include "tools/nanobox/command.hpp"
#include "tools/nanobox/port_forward.hpp"

namespace nanobox::cli {
namespace {

Result<int> run(Session& session) {
  const auto& args = session.arguments;
  PortForwardCall call{.sandbox_id = args.words.front(),
                       .address = args.value("address").value_or("127.0.0.1"),
                       .pairs = {},
                       .json = session.json()};
  for (std::size_t at = 1; at < args.words.size(); ++at)
    call.pairs.push_back(NANOBOX_TRY(read_port_pair(args.words[at])));
  const auto server = NANOBOX_TRY(session.server());
  NANOBOX_TRY(forward_ports(server.address, session.interruption, call));
  return 0;
}

}  // namespace

CommandSpec port_forward_command_spec() {
  return {.name = "port-forward",
          .usage = "SANDBOX [HERE:]PORT…",
          .summary = "reach TCP ports in a sandbox from here",
          .lesson =
              "Listens here and joins each connection with one to the port inside, whatever the sandbox's network is\n"
              "like. Says where it listens; goes on until Ctrl-C, and keeps the sandbox alive meanwhile.\n\n"
              "  nanobox port-forward sb-01jq… 8080:80          http://127.0.0.1:8080 is port 80 inside\n"
              "  nanobox port-forward sb-01jq… 5432 :6379       5432 here too, and a free port for 6379\n"
              "  nanobox port-forward --address 0.0.0.0 sb-01jq… 8080:80     for others too: nobody asks for a key",
          .options = with_common({{"address", 0, "ADDRESS", "where to listen (127.0.0.1)"}}),
          .least_words = 2,
          .run = run};
}

}  // namespace nanobox::cli
