#include "config/settings_table.hpp"

#include <algorithm>
#include <cstdio>

namespace nanobox {
namespace {

using S = Settings;
using Number = std::size_t;
using Path = std::filesystem::path;
using Text = std::string;
using Texts = std::vector<std::string>;
using Paths = std::vector<Path>;
using Count = std::uint64_t;

constexpr std::string_view kVmms[] = {"auto", "firecracker", "qemu-kvm", "qemu-tcg"};
constexpr std::string_view kOnShutdown[] = {"keep", "pause", "destroy"};
constexpr std::string_view kNetworkModes[] = {"isolated", "internal", "internet"};
constexpr std::string_view kLogLevels[] = {"trace", "debug", "info", "warn", "error", "off"};
constexpr std::string_view kLogFormats[] = {"text", "json"};
constexpr double kMaxSeconds = 30.0 * 24 * 3600;

// clang-format off
const SettingKey kKeys[] = {
  {.name = "api.listen_addr", .place = [](S& s, Number) -> ListenAddress& { return s.api.listen_addr; },
   .help = "where the REST API listens; port 0 takes a free one"},
  {.name = "api.drain_sec", .place = [](S& s, Number) -> Count& { return s.api.drain_sec; },
   .help = "how long requests in flight may take to finish at shutdown", .most = 3600},

  {.name = "auth.keys", .place = [](S& s, Number) -> Texts& { return s.auth.keys; },
   .help = "API keys; with any set, every peer needs one", .secret = true},
  {.name = "auth.require_on_loopback", .place = [](S& s, Number) -> bool& { return s.auth.require_on_loopback; },
   .help = "peers on this host need a key too"},
  {.name = "auth.allow_unauthenticated", .place = [](S& s, Number) -> bool& { return s.auth.allow_unauthenticated; },
   .help = "turns keys off; whoever reaches the port may do everything"},

  {.name = "agent.node_id", .place = [](S& s, Number) -> Text& { return s.agent.node_id; },
   .help = "this node's name in the cluster", .otherwise = "the host's name"},
  {.name = "agent.firecracker_bin", .place = [](S& s, Number) -> Path& { return s.agent.firecracker_bin; },
   .help = "accepted and not used: this version cannot drive Firecracker"},
  {.name = "agent.vmm", .place = [](S& s, Number) -> Text& { return s.agent.vmm; },
   .help = "which VMM to use; auto takes the fastest that works here", .choices = kVmms},
  {.name = "agent.rootfs_dir", .place = [](S& s, Number) -> Path& { return s.agent.rootfs_dir; },
   .help = "the sandboxes' disks and console logs", .otherwise = "DATA/rootfs"},
  {.name = "agent.snapshot_dir", .place = [](S& s, Number) -> Path& { return s.agent.snapshot_dir; },
   .help = "snapshots of templates and paused sandboxes", .otherwise = "DATA/snapshots"},
  {.name = "agent.snapshot_max_mb", .place = [](S& s, Number) -> Count& { return s.agent.snapshot_max_mb; },
   .help = "the most that snapshots may take; 0 is no limit"},
  {.name = "agent.on_shutdown", .place = [](S& s, Number) -> Text& { return s.agent.on_shutdown; },
   .help = "what becomes of running sandboxes when the daemon ends", .choices = kOnShutdown},
  {.name = "agent.disk_overcommit", .place = [](S& s, Number) -> double& { return s.agent.disk_overcommit; },
   .help = "how often the disk's space may be promised to sandboxes", .least = 0.1, .most = 1000},
  {.name = "agent.memory_mb", .place = [](S& s, Number) -> Count& { return s.agent.memory_mb; },
   .help = "the most memory that all sandboxes together may have", .otherwise = "seven eighths of the host's"},
  {.name = "agent.min_free_mb", .place = [](S& s, Number) -> Count& { return s.agent.min_free_mb; },
   .help = "disk space that stays free: below it nothing new is started"},

  {.name = "firecracker.kernel", .place = [](S& s, Number) -> Path& { return s.firecracker.kernel; },
   .help = "the guest kernel (an uncompressed ELF), for QEMU too", .otherwise = "the newest in DATA/kernels and /usr/lib/nanobox"},
  {.name = "firecracker.boot_args", .place = [](S& s, Number) -> Text& { return s.firecracker.boot_args; },
   .help = "the guest kernel's command line"},

  {.name = "network.bridge_name", .place = [](S& s, Number) -> Text& { return s.network.bridge_name; },
   .help = "the bridge that holds the gateway's address"},
  {.name = "network.subnet", .place = [](S& s, Number) -> Ipv4Subnet& { return s.network.subnet; },
   .help = "where sandboxes get their addresses from"},
  {.name = "network.host_iface", .place = [](S& s, Number) -> Text& { return s.network.host_iface; },
   .help = "the interface that leads to the internet", .otherwise = "the default route's"},
  {.name = "network.default_mode", .place = [](S& s, Number) -> Text& { return s.network.default_mode; },
   .help = "the mode of sandboxes that name none", .choices = kNetworkModes},

  {.name = "oci.cache_dir", .place = [](S& s, Number) -> Path& { return s.oci.cache_dir; },
   .help = "pulled layers and built root file systems", .otherwise = "DATA/oci-cache"},
  {.name = "oci.init_binary", .place = [](S& s, Number) -> Path& { return s.oci.init_binary; },
   .help = "the guest's PID 1", .otherwise = "the embedded one"},
  {.name = "oci.dns_server", .place = [](S& s, Number) -> Text& { return s.oci.dns_server; },
   .help = "the resolver that guests are told", .otherwise = "the first address of network.subnet"},
  {.name = "oci.local_roots", .place = [](S& s, Number) -> Paths& { return s.oci.local_roots; },
   .help = "folders below which oci: and docker-archive: images may lie"},
  {.name = "oci.insecure_registries", .place = [](S& s, Number) -> Texts& { return s.oci.insecure_registries; },
   .help = "registries (host or host:port) that may be asked by plain http"},
  {.name = "oci.ca_file", .place = [](S& s, Number) -> Path& { return s.oci.ca_file; },
   .help = "certificates to trust for registries (PEM)", .otherwise = "the system's"},
  {.name = "oci.docker_config", .place = [](S& s, Number) -> Path& { return s.oci.docker_config; },
   .help = "docker's credentials for registries", .otherwise = "~/.docker/config.json"},
  {.name = "oci.cache_max_mb", .place = [](S& s, Number) -> Count& { return s.oci.cache_max_mb; },
   .help = "accepted and not used: the cache has no limit yet"},
  {.name = "oci.credentials[].registry", .place = [](S& s, Number i) -> Text& { return s.oci.credentials[i].registry; },
   .help = "host or host:port"},
  {.name = "oci.credentials[].username", .place = [](S& s, Number i) -> Text& { return s.oci.credentials[i].username; },
   .help = "user name for that registry"},
  {.name = "oci.credentials[].password", .place = [](S& s, Number i) -> Text& { return s.oci.credentials[i].password; },
   .help = "password or token for that registry", .secret = true},

  {.name = "pool.replenish_interval_sec", .place = [](S& s, Number) -> Count& { return s.pool.replenish_interval_sec; },
   .help = "how often a pool looks whether VMs are missing", .least = 1, .most = kMaxSeconds},
  {.name = "pool.max_idle_sec", .place = [](S& s, Number) -> Count& { return s.pool.max_idle_sec; },
   .help = "a ready VM that waited this long is replaced", .most = kMaxSeconds},
  {.name = "pool.memory_max_mb", .place = [](S& s, Number) -> Count& { return s.pool.memory_max_mb; },
   .help = "the most memory that ready VMs may hold", .otherwise = "a quarter of the host's"},
  {.name = "pool.templates[].name", .place = [](S& s, Number i) -> Text& { return s.pool.templates[i].name; },
   .help = "the template this pool is for"},
  {.name = "pool.templates[].min_ready", .place = [](S& s, Number i) -> Count& { return s.pool.templates[i].min_ready; },
   .help = "how many VMs are kept ready", .most = 10'000},
  {.name = "pool.templates[].max_ready", .place = [](S& s, Number i) -> Count& { return s.pool.templates[i].max_ready; },
   .help = "the most that may be ready; not below min_ready", .most = 10'000},

  {.name = "cluster.listen_addr", .place = [](S& s, Number) -> std::optional<ListenAddress>& { return s.cluster.listen_addr; },
   .help = "where a control plane waits for nodes", .otherwise = "none"},
  {.name = "cluster.join_addr", .place = [](S& s, Number) -> std::optional<ListenAddress>& { return s.cluster.join_addr; },
   .help = "where nodes join: of a control plane its own, else the one to join", .otherwise = "behind listen_addr"},
  {.name = "cluster.overlay_iface", .place = [](S& s, Number) -> Text& { return s.cluster.overlay_iface; },
   .help = "the interface by which a node's network groups reach other nodes", .otherwise = "none"},
  {.name = "cluster.snapshot_replicas", .place = [](S& s, Number) -> Count& { return s.cluster.snapshot_replicas; },
   .help = "copies of a paused sandbox' state that other nodes keep", .most = 16},

  {.name = "events.keep", .place = [](S& s, Number) -> Count& { return s.events.keep; },
   .help = "how many of the latest events are kept", .least = 1, .most = 1'000'000},
  {.name = "events.webhooks[].url", .place = [](S& s, Number i) -> Text& { return s.events.webhooks[i].url; },
   .help = "where events are sent to by POST"},
  {.name = "events.webhooks[].secret", .place = [](S& s, Number i) -> Text& { return s.events.webhooks[i].secret; },
   .help = "signs what is sent (HMAC-SHA256)", .secret = true},
  {.name = "events.webhooks[].types", .place = [](S& s, Number i) -> Texts& { return s.events.webhooks[i].types; },
   .help = "which types of events: \"sandbox.failed\", \"node.\"; none is all"},

  {.name = "audit.enabled", .place = [](S& s, Number) -> bool& { return s.audit.enabled; },
   .help = "whether it is written down who did what"},
  {.name = "audit.retention_days", .place = [](S& s, Number) -> Count& { return s.audit.retention_days; },
   .help = "how long that is kept", .least = 1, .most = 3650},
  {.name = "audit.max_mb", .place = [](S& s, Number) -> Count& { return s.audit.max_mb; },
   .help = "the most that it may take on disk; the oldest goes first", .least = 1, .most = 1e6},

  {.name = "metrics.enabled", .place = [](S& s, Number) -> bool& { return s.metrics.enabled; },
   .help = "whether GET /metrics is served, and what it needs is measured"},

  {.name = "log.level", .place = [](S& s, Number) -> Text& { return s.log.level; },
   .help = "the least that is logged", .choices = kLogLevels},
  {.name = "log.levels", .place = [](S& s, Number) -> Texts& { return s.log.levels; },
   .help = "other levels for single components: \"http=debug\""},
  {.name = "log.format", .place = [](S& s, Number) -> Text& { return s.log.format; },
   .help = "how lines look", .otherwise = "text on a terminal, else json", .choices = kLogFormats},
};

const SettingList kLists[] = {
  {.name = "oci.credentials", .size = [](const S& s) { return s.oci.credentials.size(); },
   .append = [](S& s) { s.oci.credentials.emplace_back(); }},
  {.name = "pool.templates", .size = [](const S& s) { return s.pool.templates.size(); },
   .append = [](S& s) { s.pool.templates.emplace_back(); }},
  {.name = "events.webhooks", .size = [](const S& s) { return s.events.webhooks.size(); },
   .append = [](S& s) { s.events.webhooks.emplace_back(); }},
};
// clang-format on

std::string quoted_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04X", byte);
      out += escape;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string toml_text(bool value) {
  return value ? "true" : "false";
}
std::string toml_text(std::uint64_t value) {
  return std::to_string(value);
}
std::string toml_text(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.15g", value);
  const std::string_view view = text;
  return view.find_first_of(".e") == std::string_view::npos ? std::string(view) + ".0" : std::string(view);
}
std::string toml_text(const std::string& value) {
  return quoted_text(value);
}
std::string toml_text(const Path& value) {
  return quoted_text(value.native());
}
std::string toml_text(const ListenAddress& value) {
  return quoted_text(to_string(value));
}
std::string toml_text(const std::optional<ListenAddress>& value) {
  return quoted_text(value ? to_string(*value) : "");
}
std::string toml_text(const Ipv4Subnet& value) {
  return quoted_text(to_string(value));
}
template <class Item>
std::string toml_text(const std::vector<Item>& values) {
  std::string out = "[";
  for (const auto& value : values) out += (out.size() > 1 ? ", " : "") + toml_text(value);
  return out + "]";
}

}  // namespace

std::span<const SettingKey> setting_keys() {
  return kKeys;
}
std::span<const SettingList> setting_lists() {
  return kLists;
}

const SettingKey* find_setting(std::string_view name) {
  const auto found = std::ranges::find(kKeys, name, &SettingKey::name);
  return found == std::end(kKeys) ? nullptr : found;
}

std::string environment_name(const SettingKey& key) {
  std::string name = "NANOBOX_";
  for (const char c : key.name) name += c == '.' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return name;
}

std::string_view type_name(const SettingKey& key) {
  static constexpr std::string_view kNames[] = {"true or false",
                                                "a whole number",
                                                "a number",
                                                "a text",
                                                "a path",
                                                "an array of texts",
                                                "an array of paths",
                                                "an address (HOST:PORT)",
                                                "an address (HOST:PORT)",
                                                "a network (A.B.C.D/LENGTH)"};
  static_assert(std::size(kNames) == std::variant_size_v<SettingPlace>);
  return kNames[key.place.index()];
}

std::string value_text(const SettingKey& key, const Settings& settings, std::size_t item) {
  // The table's places give mutable references only; nothing is changed through
  // this one.
  auto& readable = const_cast<Settings&>(settings);
  return std::visit([&](auto place) { return toml_text(place(readable, item)); }, key.place);
}

std::string describe_settings() {
  std::string out;
  const Settings defaults;
  for (const auto& key : setting_keys()) {
    out += "  --" + std::string(key.name) + "  " + std::string(key.help);
    if (key.in_list())
      out += " (file only)";
    else
      out += " [" + (key.otherwise.empty() ? value_text(key, defaults) : std::string(key.otherwise)) + "]";
    out += "\n";
  }
  return out;
}

}  // namespace nanobox
