#include "config/byte_size.hpp"
#include "tools/nanobox/command.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/template_name.hpp"
#include "tools/nanobox/warm_up.hpp"

namespace nanobox::cli {
namespace {

Result<int> run(Session& session) {
  const auto& args = session.arguments;
  const auto& image = args.words.front();
  const auto sizes = NANOBOX_TRY(read_sizes(args));
  WarmUp wanted{.image = image,
                .name = args.value("name").value_or(template_name_for(image)),
                .vcpu = sizes.vcpu,
                .memory_mb = sizes.memory_mb,
                .disk_mb = sizes.disk_mb,
                .platform = args.value("platform").value_or(""),
                .username = args.value("username").value_or(""),
                .password = "",
                .snapshot = !args.has("no-snapshot"),
                .prime = NANOBOX_TRY(read_prime(args)),
                .force = args.has("force"),
                .quiet = session.json()};
  if (!wanted.username.empty()) {
    wanted.password = NANOBOX_TRY(read_stdin());
    while (!wanted.password.empty() && (wanted.password.back() == '\n' || wanted.password.back() == '\r'))
      wanted.password.pop_back();
  }
  const auto server = NANOBOX_TRY(session.server());
  ApiClient client(server.address, &session.interruption);
  const auto made = NANOBOX_TRY(warm_up(client, wanted));
  if (session.json()) {
    NANOBOX_TRY(print_json(made));
    return 0;
  }
  rapidjson::Document entry;
  entry.Parse(made.data(), made.size());
  NANOBOX_TRY(print_text(wanted.name + " is ready: " +
                         format_byte_size(static_cast<std::uint64_t>(json_number(entry, "rootfs_used_bytes"))) +
                         " from " + image + "\n"));
  return 0;
}

}  // namespace

CommandSpec warmup_command_spec() {
  auto options = size_options();
  options.insert(options.end(),
                 {{"name", 'n', "NAME", "the template's name; else made from the image's"},
                  {"platform", 0, "OS/ARCH", "which of the image's platforms, e.g. linux/amd64"},
                  {"username", 0, "USER", "for the registry; the password is read from stdin"},
                  {"no-snapshot", 0, "", "keep no booted state; sandboxes boot cold"},
                  {"prime", 0, "COMMAND", "run this by /bin/sh -c before the snapshot is taken"},
                  {"prime-background", 0, "", "it goes on running in every sandbox; else it must end with 0"},
                  {"prime-ready-port", 0, "PORT", "in the background; snapshot when something listens there"},
                  {"prime-ready-command", 0, "COMMAND", "in the background; snapshot when this ends with 0"},
                  {"prime-ready-timeout", 0, "SECONDS", "how long that may take (60)"},
                  {"force", 0, "", "build anew even if nothing has changed"}});
  return {
      .name = "warmup",
      .usage = "IMAGE",
      .summary = "make a template from an image, so that sandboxes start at once",
      .lesson =
          "Pulls the image's layers, builds a root file system from them and keeps it under the template's name.\n"
          "What is there already is not pulled again. Then it boots once, and a snapshot of that is where sandboxes\n"
          "begin. With --prime a command has done its work by then, or is running: imports, caches, a server.\n\n"
          "  nanobox warmup node:22-alpine --name node22\n"
          "  nanobox warmup registry.local:5000/team/app:1 --username ann < password-file\n"
          "  nanobox warmup docker-archive:/images/app.tar\n"
          "  nanobox warmup python:3-slim --prime 'python3 -c \"import json, ssl\"'\n"
          "  nanobox warmup team/web --prime '/app/serve' --prime-ready-port 8080\n\n"
          "What --prime leaves in memory is the same in every sandbox: secrets and random seeds too (docs/fork.md).",
      .options = with_common(std::move(options)),
      .least_words = 1,
      .most_words = 1,
      .run = run};
}

}  // namespace nanobox::cli
