#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <caf/actor_system.hpp>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>

#include "config/data_folder.hpp"
#include "config/settings.hpp"
#include "http/auth.hpp"
#include "http/resources/api.hpp"
#include "http/server.hpp"
#include "pipeline/boot/network/node_network.hpp"
#include "pipeline/store/control_store.hpp"
#include "pipeline/store/data_folder_lock.hpp"
#include "tools/nanoboxd/doctor.hpp"
#include "tools/nanoboxd/services_setup.hpp"

namespace nanobox {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kLocalNode{30};

constexpr std::string_view kHelp = R"(nanoboxd - turns container images into microVM sandboxes

Usage: nanoboxd [--config FILE] [--SECTION.KEY=VALUE ...]

  --config FILE     read this nanobox.toml (else /etc/nanobox/nanobox.toml, if present)
  --SECTION.KEY=V   set one key, e.g. --api.listen_addr=127.0.0.1:9000
  --role all        control plane and node in one (the only role of this version)
  --check-config    check the configuration and what it names, then end
  --print-config    print the whole configuration with its help, then end
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

void set_up_log(const Settings::Log& log) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("nanoboxd"));
  spdlog::set_level(spdlog::level::from_str(log.level));
  const bool text = log.format.empty() ? ::isatty(STDERR_FILENO) == 1 : log.format == "text";
  spdlog::set_pattern(text ? "%Y-%m-%d %H:%M:%S.%e %^%l%$ %v"
                           : R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","message":"%v"})");
}

fs::path program_folder() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).parent_path();
}

fs::path find_embedded_images() {
  std::error_code error;
  const auto folder = program_folder() / "../share/nanobox/images";
  return fs::is_directory(folder, error) ? fs::canonical(folder, error) : fs::path();
}

/// Clients on this host find the server by it.
Result<void> write_address(const fs::path& data, const ListenAddress& address) {
  auto reachable = address;
  if (reachable.host == "0.0.0.0") reachable.host = "127.0.0.1";
  if (reachable.host == "::") reachable.host = "::1";
  const auto file = address_file(data), half = fs::path(file.string() + ".tmp");
  std::ofstream out(half);
  out << "http://" << to_string(reachable) << "\n";
  out.close();
  std::error_code error;
  if (out) fs::rename(half, file, error);
  if (!out || error) return fail(errno_error(errno, "write the server's address", file.string()));
  return {};
}

/// A sandbox takes some ten descriptors, and 1024 is the usual limit.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

Result<int> serve(LoadedSettings loaded) {
  // Blocked before the first thread, so that every thread inherits it: sigwait alone takes them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  // The confined VMM walks to its own files; what is secret is made with its own mode.
  ::umask(022);
  raise_descriptor_limit();

  const auto lock = NANOBOX_TRY(DataFolderLock::take(loaded.data_folder));
  const auto embedded_images = find_embedded_images();
  if (!embedded_images.empty()) loaded.settings.oci.local_roots.push_back(embedded_images);
  const auto control_store = NANOBOX_TRY(ControlStore::open(loaded.data_folder / "control.db"));
  auto services = NANOBOX_TRY(set_up_services(loaded, control_store));
  const auto& settings = loaded.settings;

  ActorSystemConfig config;
  caf::actor_system system(config);
  auto node = NANOBOX_TRY(start_node(system, services));
  auto control = std::make_shared<ControlServices>();
  control->version = NANOBOX_VERSION;
  control->local_node_id = services->node_id;
  control->subnet = settings.network.subnet;
  control->store = control_store;
  control->boards = std::make_shared<Boards>();
  auto plane = NANOBOX_TRY(start_control_plane(system, control));
  auto membership = join_node(system, node, local_door(system, plane), describe_node(*services, NANOBOX_VERSION), {});
  NANOBOX_TRY(await_node(plane, services->node_id, kLocalNode));
  http::Api api{.system = system,
                .plane = plane,
                .image_sources = services->image_sources,
                .spools = services->spools,
                .local = services,
                .invite = {},
                .idempotency = std::make_shared<http::Idempotency>(control_store),
                .default_network_mode = settings.network.default_mode,
                .embedded_images = embedded_images};

  http::ServerSettings server_settings;
  server_settings.listen_addr = settings.api.listen_addr;
  auto rules = http::make_auth_rules(settings.auth.keys, settings.auth.require_on_loopback,
                                     settings.auth.allow_unauthenticated, settings.api.listen_addr, loaded.data_folder);
  http::Router router;
  http::add_template_routes(router, api);
  http::add_sandbox_routes(router, api);
  http::add_exec_route(router, api);
  http::add_process_routes(router, api);
  http::add_file_routes(router, api);
  http::add_port_routes(router, api);
  http::add_terminal_route(router, api);
  http::add_log_route(router, api);
  http::add_pipeline_routes(router, api);
  http::add_node_routes(router, api);
  http::add_health_routes(router, api);

  const auto run = [&]() -> Result<void> {
    server_settings.auth = std::make_shared<const http::Authenticator>(NANOBOX_TRY(std::move(rules)));
    auto server = NANOBOX_TRY(http::Server::start(server_settings, std::move(router)));
    NANOBOX_TRY(write_address(loaded.data_folder, server.address()));
    spdlog::info("listening on {}", to_string(server.address()));
    int signal = 0;
    sigwait(&signals, &signal);
    spdlog::info("{}: stopping", signal == SIGTERM ? "SIGTERM" : "SIGINT");
    api.ready = false;
    api.stopping.request_stop();
    server.stop(std::chrono::seconds(settings.api.drain_sec));
    std::error_code ignored;
    fs::remove(address_file(loaded.data_folder), ignored);
    return {};
  };
  const auto outcome = run();
  leave(system, membership);
  api.plane = {};
  stop_control_plane(system, plane);
  stop_node(system, node, settings.agent.on_shutdown);
  if (services->network) services->network->stop();
  api.idempotency.reset();
  if (!outcome) return fail(outcome.error());
  return 0;
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
  if (!loaded) return complain(loaded.error());
  bool check = false, print = false, doctor = false, as_json = false;
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
    else if (arg == "--role" && i + 1 < loaded->other_args.size() && loaded->other_args[i + 1] == "all")
      ++i;
    else if (arg == "--role=all")
      continue;
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
  set_up_log(loaded->settings.log);
  if (doctor) return run_doctor(*loaded, as_json);
  const auto code = serve(std::move(*loaded));
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
