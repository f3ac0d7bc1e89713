#include "config/settings.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>

#include "config/data_folder.hpp"
#include "config/edit_distance.hpp"
#include "config/event_types.hpp"
#include "config/settings_file.hpp"
#include "config/settings_table.hpp"
#include "config/settings_value.hpp"
#include "config/unique_fd.hpp"

namespace nanobox {
namespace {

constexpr off_t kMaxFileBytes = 1 << 20;
constexpr std::size_t kLeastHookSecret = 16;

std::string describe_place(const SettingProblem& problem) {
  return problem.key.empty() ? problem.place : problem.place + ": " + problem.key;
}

Error to_error(const std::vector<SettingProblem>& problems) {
  const auto& first = problems.front();
  Error error{.code = ErrorCode::config_invalid,
              .attempted = "read settings",
              .subject = describe_place(first),
              .reason = first.reason,
              .mend = first.mend};
  for (const auto& problem : problems) {
    std::string pointer = "/" + problem.key;
    std::ranges::replace(pointer, '.', '/');
    error.fields.push_back(
        {pointer, problem.place + ": " + problem.reason + (problem.mend.empty() ? "" : " (" + problem.mend + ")")});
  }
  return error;
}

Result<std::string> read_file(const std::filesystem::path& file) {
  const UniqueFd opened{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (!opened) {
    auto error = errno_error(errno, "read settings", file, ErrorCode::file_unreadable);
    error.mend = "name a file that exists with --config";
    return fail(std::move(error));
  }
  struct stat info {};
  const auto refuse = [&](std::string reason) {
    return fail({.code = ErrorCode::file_unreadable,
                 .attempted = "read settings",
                 .subject = file,
                 .reason = std::move(reason),
                 .mend = "name a TOML file with --config"});
  };
  if (::fstat(opened.get(), &info) != 0 || !S_ISREG(info.st_mode)) return refuse("it is no regular file");
  if (info.st_size > kMaxFileBytes) return refuse("it is larger than 1 MiB");
  std::string text(static_cast<std::size_t>(kMaxFileBytes) + 1, '\0');
  std::size_t length = 0;
  while (length < text.size()) {
    const auto got = ::read(opened.get(), text.data() + length, text.size() - length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error(errno, "read settings", file, ErrorCode::file_unreadable));
    if (got == 0) break;
    length += static_cast<std::size_t>(got);
  }
  text.resize(length);
  return text;
}

/// Variables with a section's name that are nearly a key are mistakes; others may belong to someone else
/// (Kubernetes sets NANOBOX_API_SERVICE_HOST for a service of that name).
void apply_environment(const Environment& environment, LoadedSettings& loaded, std::vector<SettingProblem>& problems) {
  std::vector<std::string> known;
  for (const auto& key : setting_keys()) {
    if (key.in_list()) continue;
    known.push_back(environment_name(key));
    const auto found = environment.find(known.back());
    if (found == environment.end()) continue;
    loaded.given.emplace(key.name);
    if (auto set = set_text(key, found->second, loaded.settings); !set)
      problems.push_back({"environment " + known.back(), std::string(key.name), set.error().reason, set.error().mend});
  }
  for (const auto& [name, value] : environment) {
    if (!name.starts_with("NANOBOX_") || std::ranges::find(known, name) != known.end()) continue;
    const auto near =
        std::ranges::find_if(known, [&wrong = name](const auto& other) { return edit_distance(wrong, other) <= 2; });
    if (near != known.end())
      problems.push_back({"environment " + name, "", "there is no such key", "did you mean '" + *near + "'?"});
  }
}

/// "--api.drain_sec=5" or "--api.drain_sec": whether it speaks of a key, as sections and keys do, with a dot in its
/// name. Two have a short form, as daemons' usual flags are.
std::optional<std::string_view> setting_flag(std::string_view arg) {
  if (!arg.starts_with("--")) return std::nullopt;
  const auto name = arg.substr(2, std::min(arg.find('='), arg.size()) - 2);
  if (name == "log-level") return "log.level";
  if (name == "log-format") return "log.format";
  if (name.empty() || name.front() == '.' || name.find('.') == std::string_view::npos) return std::nullopt;
  return name;
}

struct Flag {
  std::string name;
  std::optional<std::string> value;
};

/// What `args` say about settings; the file they name; and what is left of them. After "--" nothing is looked at.
struct SplitArgs {
  std::vector<Flag> flags;
  std::optional<std::string> file;
  bool file_without_value = false;
  std::vector<std::string> others;
};

SplitArgs split(const std::vector<std::string>& args) {
  SplitArgs out;
  for (std::size_t at = 0; at < args.size(); ++at) {
    const std::string& arg = args[at];
    const auto value = [&]() -> std::optional<std::string> {
      if (const auto equals = arg.find('='); equals != std::string::npos) return arg.substr(equals + 1);
      if (at + 1 < args.size() && !args[at + 1].starts_with("--")) return args[++at];
      return std::nullopt;
    };
    if (arg == "--") {
      out.others.insert(out.others.end(), args.begin() + static_cast<std::ptrdiff_t>(at), args.end());
      break;
    }
    if (arg == "--config" || arg.starts_with("--config=")) {
      out.file = value();
      out.file_without_value = !out.file;
    } else if (const auto name = setting_flag(arg)) {
      std::string key(*name);
      out.flags.push_back({std::move(key), value()});
    } else {
      out.others.push_back(arg);
    }
  }
  return out;
}

void apply_flags(const std::vector<Flag>& flags, LoadedSettings& loaded, std::vector<SettingProblem>& problems) {
  for (const auto& [name, value] : flags) {
    const std::string place = "flag --" + name;
    const auto* key = find_setting(name);
    const bool list =
        std::ranges::any_of(setting_lists(), [&wanted = name](const auto& row) { return row.name == wanted; });
    if (list || (key != nullptr && key->in_list())) {
      problems.push_back({place, "", "arrays of tables come from the file only", "write them into the file"});
    } else if (key == nullptr) {
      auto problem = unknown_key(place, name);
      problem.key.clear();
      problems.push_back(std::move(problem));
    } else {
      loaded.given.emplace(key->name);
      const bool is_switch = std::holds_alternative<bool& (*)(Settings&, std::size_t)>(key->place);
      if (!value && !is_switch) {
        problems.push_back({place, "", "it needs a value", "write --" + name + "=VALUE"});
      } else if (auto set = set_text(*key, value.value_or("true"), loaded.settings); !set) {
        problems.push_back({place, "", set.error().reason, set.error().mend});
      }
    }
  }
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 63 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
}

std::string host_name() {
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0) return "localhost";
  return is_name(name) ? name : "localhost";
}

std::uint64_t host_memory_mb() {
  struct sysinfo info {};
  return ::sysinfo(&info) == 0 ? static_cast<std::uint64_t>(info.totalram) * info.mem_unit >> 20 : 0;
}

void expand_home(std::filesystem::path& path, const Environment& environment) {
  const auto& text = path.native();
  if (!text.starts_with("~/")) return;
  if (const auto home = environment.find("HOME"); home != environment.end())
    path = std::filesystem::path(home->second) / text.substr(2);
}

void fill_host_defaults(LoadedSettings& loaded, const Environment& environment) {
  auto& s = loaded.settings;
  if (s.agent.node_id.empty()) s.agent.node_id = host_name();
  if (s.agent.rootfs_dir.empty()) s.agent.rootfs_dir = loaded.data_folder / "rootfs";
  if (s.agent.snapshot_dir.empty()) s.agent.snapshot_dir = loaded.data_folder / "snapshots";
  if (s.oci.cache_dir.empty()) s.oci.cache_dir = loaded.data_folder / "oci-cache";
  if (s.oci.dns_server.empty()) s.oci.dns_server = first_address(s.network.subnet);
  if (s.oci.docker_config.empty() && environment.contains("HOME")) s.oci.docker_config = "~/.docker/config.json";
  if (!loaded.given.contains("pool.memory_max_mb")) s.pool.memory_max_mb = host_memory_mb() / 4;
  for (auto* path : {&s.agent.firecracker_bin, &s.agent.rootfs_dir, &s.agent.snapshot_dir, &s.firecracker.kernel,
                     &s.oci.cache_dir, &s.oci.init_binary, &s.oci.ca_file, &s.oci.docker_config})
    expand_home(*path, environment);
  for (auto& path : s.oci.local_roots) expand_home(path, environment);
}

void check_webhooks(const Settings::Events& events,
                    const std::function<void(std::string, std::string, std::string)>& add) {
  for (const auto& hook : events.webhooks) {
    if (auto problem = problem_with_hook_url(hook.url))
      add("events.webhooks[].url", "'" + hook.url + "' " + *problem, "write https://HOST/PATH");
    if (hook.secret.size() < kLeastHookSecret)
      add("events.webhooks[].secret", "is missing or too short for '" + hook.url + "'",
          "give it at least " + std::to_string(kLeastHookSecret) + " characters, e.g. from openssl rand -hex 32");
    for (const auto& type : hook.types)
      if (!is_event_pattern(type))
        add("events.webhooks[].types", "'" + type + "' is no type of event",
            "use a type such as sandbox.failed, or a prefix such as node.");
  }
}

/// What no single value shows: names' forms, and values against each other.
void check_together(const LoadedSettings& loaded, std::vector<SettingProblem>& problems) {
  const auto& s = loaded.settings;
  const std::string place = loaded.file ? loaded.file->string() : "settings";
  const auto add = [&](std::string key, std::string reason, std::string mend) {
    problems.push_back({place, std::move(key), std::move(reason), std::move(mend)});
  };
  if (!is_name(s.agent.node_id))
    add("agent.node_id", "'" + s.agent.node_id + "' is no name", "use up to 63 letters, digits, '-', '_' or '.'");
  for (const auto& [key, name] : {std::pair("network.bridge_name", &s.network.bridge_name),
                                  std::pair("network.host_iface", &s.network.host_iface),
                                  std::pair("cluster.overlay_iface", &s.cluster.overlay_iface)}) {
    const bool may_be_empty = name != &s.network.bridge_name;
    if ((name->empty() && !may_be_empty) || name->size() > 15 || name->find_first_of(" /:") != std::string::npos)
      add(key, "'" + *name + "' is no interface's name", "use at most 15 characters, without '/', ':' and spaces");
  }
  unsigned char address[sizeof(in6_addr)];
  if (::inet_pton(AF_INET, s.oci.dns_server.c_str(), address) != 1 &&
      ::inet_pton(AF_INET6, s.oci.dns_server.c_str(), address) != 1)
    add("oci.dns_server", "'" + s.oci.dns_server + "' is no IP address", "write an address such as 10.100.0.1");
  for (std::size_t at = 0; at < s.pool.templates.size(); ++at) {
    const auto& entry = s.pool.templates[at];
    if (entry.max_ready < entry.min_ready)
      add("pool.templates[].max_ready", "is below min_ready for '" + entry.name + "'",
          "set it to at least " + std::to_string(entry.min_ready));
    for (std::size_t other = 0; other < at; ++other)
      if (s.pool.templates[other].name == entry.name)
        add("pool.templates[].name", "'" + entry.name + "' occurs twice", "keep one entry a template");
  }
  check_webhooks(s.events, add);
  for (const auto* folder : {&s.agent.rootfs_dir, &s.agent.snapshot_dir, &s.oci.cache_dir})
    if (!folder->is_absolute()) {
      const char* key = folder == &s.agent.rootfs_dir     ? "agent.rootfs_dir"
                        : folder == &s.agent.snapshot_dir ? "agent.snapshot_dir"
                                                          : "oci.cache_dir";
      add(key, "'" + folder->string() + "' is no absolute path", "write the whole path, from / or ~/");
    }
}

}  // namespace

Environment process_environment() {
  Environment environment;
  for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (const auto equals = text.find('='); equals != std::string_view::npos)
      environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

Result<LoadedSettings> load_settings(const SettingsSources& sources) {
  LoadedSettings loaded;
  loaded.data_folder = NANOBOX_TRY(find_data_folder(sources.environment));
  auto args = split(sources.args);
  loaded.other_args = std::move(args.others);
  std::vector<SettingProblem> problems;
  if (args.file_without_value) problems.push_back({"flag --config", "", "it needs a value", "write --config FILE"});

  std::error_code ignored;
  if (sources.file)
    loaded.file = sources.file;
  else if (args.file)
    loaded.file = *args.file;
  else if (std::filesystem::exists(sources.system_file, ignored))
    loaded.file = sources.system_file;
  if (loaded.file) {
    const auto text = NANOBOX_TRY(read_file(*loaded.file));
    for (auto& problem : apply_toml(text, loaded.file->string(), loaded.settings, loaded.given))
      problems.push_back(std::move(problem));
  }
  apply_environment(sources.environment, loaded, problems);
  apply_flags(args.flags, loaded, problems);
  fill_host_defaults(loaded, sources.environment);
  if (problems.empty()) check_together(loaded, problems);
  if (!problems.empty()) return fail(to_error(problems));
  return loaded;
}

}  // namespace nanobox
