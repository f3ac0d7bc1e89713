#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/error.hpp"
#include "config/ipv4_subnet.hpp"
#include "config/listen_address.hpp"

namespace nanobox {

/// Everything nanobox.toml can say, with its defaults. One row of the table in settings_table.hpp a member.
/// What depends on the host (paths below DATA, host name, memory) is empty here and filled by `load_settings`.
struct Settings {
  struct Api {
    ListenAddress listen_addr{"127.0.0.1", 8080};
    std::uint64_t drain_sec = 10;
    bool operator==(const Api&) const = default;
  } api;

  struct Auth {
    std::vector<std::string> keys;
    bool require_on_loopback = false;
    bool allow_unauthenticated = false;
    bool operator==(const Auth&) const = default;
  } auth;

  struct Agent {
    std::string node_id;                                    ///< the host's name
    std::filesystem::path firecracker_bin = "firecracker";  ///< without a slash: looked up in PATH
    std::string vmm = "auto";                               ///< auto, firecracker, qemu-kvm, qemu-tcg
    std::filesystem::path rootfs_dir;                       ///< DATA/rootfs
    std::filesystem::path snapshot_dir;                     ///< DATA/snapshots
    std::uint64_t snapshot_max_mb = 0;                      ///< 0: no limit
    std::string on_shutdown = "keep";                       ///< keep, pause, destroy
    double disk_overcommit = 4.0;
    std::uint64_t min_free_mb = 1024;
    std::uint64_t memory_mb = 0;  ///< 0: seven eighths of the host's
    bool operator==(const Agent&) const = default;
  } agent;

  struct Firecracker {
    std::filesystem::path kernel;  ///< empty: the newest of DATA/kernels/ and /usr/lib/nanobox/, at use
    std::string boot_args = "console=ttyS0 reboot=k panic=1 pci=off init=/sbin/nanobox-init";
    bool operator==(const Firecracker&) const = default;
  } firecracker;

  struct Network {
    std::string bridge_name = "nanobox-br0";
    Ipv4Subnet subnet{.base = 0x0A640000, .prefix = 16};  // 10.100.0.0/16
    std::string host_iface;                               ///< empty: the default route's, at use
    std::string default_mode = "isolated";                ///< isolated, internal, internet
    bool operator==(const Network&) const = default;
  } network;

  struct Oci {
    std::filesystem::path cache_dir;    ///< DATA/oci-cache
    std::filesystem::path init_binary;  ///< empty: the embedded one
    std::string dns_server;             ///< the first address of `network.subnet`
    std::vector<std::filesystem::path> local_roots;
    std::vector<std::string> insecure_registries;
    std::filesystem::path ca_file;        ///< empty: the system's
    std::filesystem::path docker_config;  ///< ~/.docker/config.json
    std::uint64_t cache_max_mb = 0;       ///< 0: no limit
    struct Credentials {
      std::string registry;
      std::string username;
      std::string password;
      bool operator==(const Credentials&) const = default;
    };
    std::vector<Credentials> credentials;
    bool operator==(const Oci&) const = default;
  } oci;

  struct Pool {
    std::uint64_t replenish_interval_sec = 5;
    std::uint64_t max_idle_sec = 600;
    std::uint64_t memory_max_mb = 0;  ///< filled: a quarter of the host's memory
    struct Template {
      std::string name;
      std::uint64_t min_ready = 0;
      std::uint64_t max_ready = 0;
      bool operator==(const Template&) const = default;
    };
    std::vector<Template> templates;
    bool operator==(const Pool&) const = default;
  } pool;

  struct Cluster {
    std::optional<ListenAddress> listen_addr;
    std::optional<ListenAddress> join_addr;
    std::string overlay_iface;
    std::uint64_t snapshot_replicas = 1;
    bool operator==(const Cluster&) const = default;
  } cluster;

  struct Events {
    std::uint64_t keep = 10'000;  ///< the newest, for who asks late
    struct Webhook {
      std::string url;
      std::string secret;
      std::vector<std::string> types;  ///< or prefixes that end in a dot; none: all
      bool operator==(const Webhook&) const = default;
    };
    std::vector<Webhook> webhooks;
    bool operator==(const Events&) const = default;
  } events;

  struct Audit {
    bool enabled = true;
    std::uint64_t retention_days = 30;
    std::uint64_t max_mb = 256;
    bool operator==(const Audit&) const = default;
  } audit;

  struct Metrics {
    bool enabled = true;
    bool operator==(const Metrics&) const = default;
  } metrics;

  struct Log {
    std::string level = "info";       ///< trace, debug, info, warn, error, off
    std::vector<std::string> levels;  ///< "component=level"
    std::string format;               ///< text or json; empty: text on a terminal, else json
    bool operator==(const Log&) const = default;
  } log;

  bool operator==(const Settings&) const = default;
};

using Environment = std::map<std::string, std::string, std::less<>>;

/// This process' environment as a value.
Environment process_environment();

/// Where settings come from; each later source wins: defaults, file, environment, args.
struct SettingsSources {
  std::optional<std::filesystem::path>
      file;                       ///< else `--config F` of `args`, else /etc/nanobox/nanobox.toml if present
  std::vector<std::string> args;  ///< without the program's name
  Environment environment;
  std::filesystem::path system_file = "/etc/nanobox/nanobox.toml";
};

struct LoadedSettings {
  Settings settings;                          ///< complete: host-dependent defaults are filled in
  std::filesystem::path data_folder;          ///< DATA
  std::optional<std::filesystem::path> file;  ///< the file that was read
  std::set<std::string, std::less<>> given;   ///< keys that were set by someone, e.g. "oci.ca_file"
  std::vector<std::string> other_args;        ///< args that are no settings, in their order
};

/// Reads the settings. Takes `--config F` and every `--section.key=value` (or `--section.key value`) out of `args`.
/// Strings in arrays are separated by commas in environment and args; arrays of tables come from the file only.
/// @errors config_invalid: subject "FILE:LINE: KEY" (or the variable or flag), the mend names the nearest key;
///         `fields` lists all that is wrong, not only the first · file_unreadable. Blocking: reads one file
Result<LoadedSettings> load_settings(const SettingsSources& sources);

/// The settings as TOML that `load_settings` reads again, with each key's help; keys and passwords are masked.
std::string print_settings(const Settings& settings);

/// What `--check-config` adds to loading: an error for each file or folder that was named and is missing.
std::vector<Error> check_settings(const LoadedSettings& loaded);

}  // namespace nanobox
