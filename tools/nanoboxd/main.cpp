#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "config/log.hpp"
#include "config/settings.hpp"
#include "config/settings_page.hpp"
#include "tools/nanoboxd/doctor.hpp"
#include "tools/nanoboxd/serve.hpp"

namespace nanobox {
namespace {

constexpr std::string_view kHelp = R"(nanoboxd - turns container images into microVM sandboxes

Usage: nanoboxd [--role ROLE] [--config FILE] [--SECTION.KEY=VALUE ...]

  --config FILE     read this nanobox.toml (else /etc/nanobox/nanobox.toml, if present)
  --SECTION.KEY=V   set one key, e.g. --api.listen_addr=127.0.0.1:9000
  --log-level L     trace, debug, info, warn, error or off ([log] level; [log] levels has one a component)
  --log-format F    text or json, one line an event on stderr ([log] format)
  --role all        control plane and node in one (the default); with [cluster] listen_addr it takes further nodes
  --role control    control plane alone
  --role node       a node of a cluster; the first time with
    --join HOST:PORT     the control plane's join port ([cluster] join_addr says the same)
    --token-file FILE    what nanobox node token printed, mode 0600
  --check-config    check the configuration and what it names, then end
  --print-config    print the whole configuration with its help, then end
  --print-config-docs  print docs/configuration.md, then end
  --doctor [--json] say what this host can do and what is missing, then end
  --version         print the version, then end
  --help            this text

Its data is in $NANOBOX_DATA, else /var/lib/nanobox (root), else ~/.local/share/nanobox.
)";

int complain(const Error& error) {
  std::cerr << "nanoboxd: " << describe(error) << "\n";
  for (const auto& field : error.fields) std::cerr << "  " << field.pointer << ": " << field.detail << "\n";
  return error.code == ErrorCode::config_invalid ? 2 : 1;
}

Result<void> start_log(const Settings::Log& log) {
  const auto levels = NANOBOX_TRY(parse_log_levels(log.levels));
  const bool text = log.format.empty() ? ::isatty(STDERR_FILENO) == 1 : log.format == "text";
  set_up_log(text ? LogFormat::text : LogFormat::json, log_level_named(log.level).value_or(LogLevel::info));
  for (const auto& [component, level] : levels) set_log_level(component, level);
  return {};
}

/// The value of `--name VALUE` or `--name=VALUE` at `at`, which moves behind it; nothing: it is another option.
std::optional<std::string> option_value(const std::vector<std::string>& args, std::size_t& at, std::string_view name) {
  if (args[at] == name && at + 1 < args.size()) return args[++at];
  if (args[at].starts_with(std::string(name) + "=")) return args[at].substr(name.size() + 1);
  return std::nullopt;
}

Result<Role> role_named(std::string_view name) {
  if (name == "all") return Role::all;
  if (name == "control") return Role::control;
  if (name == "node") return Role::node;
  return fail({.code = ErrorCode::config_invalid,
               .attempted = "read the command line",
               .subject = "--role " + std::string(name),
               .reason = "there is no such role",
               .mend = "use all, control or node"});
}

int main_of(const std::vector<std::string>& args) {
  auto loaded = load_settings({.file = std::nullopt, .args = args, .environment = process_environment()});
  const auto has = [&](std::string_view flag) { return std::find(args.begin(), args.end(), flag) != args.end(); };
  if (has("--help") || has("-h")) {
    std::cout << kHelp;
    return 0;
  }
  if (has("--version")) {
    std::cout << "nanoboxd " NANOBOX_VERSION "\n";
    return 0;
  }
  if (has("--print-config-docs")) {
    std::cout << settings_page();
    return 0;
  }
  if (!loaded) return complain(loaded.error());
  bool check = false, print = false, doctor = false, as_json = false;
  RoleOptions options;
  for (std::size_t i = 0; i < loaded->other_args.size(); ++i) {
    const auto& arg = loaded->other_args[i];
    if (arg == "--check-config")
      check = true;
    else if (arg == "--print-config")
      print = true;
    else if (arg == "--doctor")
      doctor = true;
    else if (arg == "--json")
      as_json = true;
    else if (const auto value = option_value(loaded->other_args, i, "--role")) {
      const auto role = role_named(*value);
      if (!role) return complain(role.error());
      options.role = *role;
    } else if (const auto value = option_value(loaded->other_args, i, "--join")) {
      const auto address = parse_listen_address(*value);
      if (!address) return complain(address.error());
      options.join = *address;
    } else if (const auto value = option_value(loaded->other_args, i, "--token-file"))
      options.token_file = *value;
    else
      return complain({.code = ErrorCode::config_invalid,
                       .attempted = "read the command line",
                       .subject = arg,
                       .reason = "there is no such option",
                       .mend = "nanoboxd --help lists them"});
  }
  if (print) {
    std::cout << print_settings(loaded->settings);
    return 0;
  }
  if (check) {
    const auto problems = check_settings(*loaded);
    for (const auto& problem : problems) complain(problem);
    if (problems.empty()) std::cout << "the configuration is fine\n";
    return problems.empty() ? 0 : 2;
  }
  if (const auto started = start_log(loaded->settings.log); !started) return complain(started.error());
  if (doctor) return run_doctor(*loaded, as_json);
  const auto code = serve(std::move(*loaded), options);
  return code ? *code : complain(code.error());
}

}  // namespace
}  // namespace nanobox

int main(int argc, char** argv) {
  try {
    return nanobox::main_of({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "nanoboxd: %s\n", error.what());
    return 1;
  }
}
