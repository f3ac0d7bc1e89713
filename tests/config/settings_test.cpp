#include "config/settings.hpp"

#include <stdlib.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <utility>

#include "config/data_folder.hpp"
#include "config/settings_page.hpp"
#include "config/settings_table.hpp"

using namespace nanobox;

namespace {

/// A folder for one test's files, and sources that see nothing of this host.
struct SettingsFolder {
  std::filesystem::path folder;
  SettingsSources sources;

  SettingsFolder() {
    std::string name = std::filesystem::temp_directory_path() / "nanobox-settings-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder = name;
    sources.system_file = folder / "absent.toml";
    sources.environment = {{"NANOBOX_DATA", "/data"}, {"HOME", "/home/ann"}};
  }
  ~SettingsFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }

  void write(std::string_view text) {
    std::ofstream(folder / "nanobox.toml") << text;
    sources.file = folder / "nanobox.toml";
  }

  Settings load() {
    auto loaded = load_settings(sources);
    if (!loaded) FAIL(describe(loaded.error()));
    return loaded->settings;
  }

  Error problem() {
    auto loaded = load_settings(sources);
    REQUIRE_FALSE(loaded);
    return loaded.error();
  }

  /// What is wrong with a file of this text.
  Error problem_of(std::string_view text) {
    write(text);
    return problem();
  }

  std::string at(int line, const char* key) const {
    return (folder / "nanobox.toml").string() + ":" + std::to_string(line) + ": " + key;
  }
};

}  // namespace

TEST_CASE_METHOD(SettingsFolder, "without any source the defaults start a single-node server on loopback",
                 "[settings]") {
  const auto s = load();
  CHECK(s.api.listen_addr == ListenAddress{"127.0.0.1", 8080});
  CHECK(s.api.drain_sec == 10);
  CHECK(s.auth.keys.empty());
  CHECK_FALSE(s.auth.require_on_loopback);
  CHECK_FALSE(s.auth.allow_unauthenticated);
  CHECK_FALSE(s.agent.node_id.empty());
  CHECK(s.agent.firecracker_bin == "firecracker");
  CHECK(s.agent.vmm == "auto");
  CHECK(s.agent.rootfs_dir == "/data/rootfs");
  CHECK(s.agent.snapshot_dir == "/data/snapshots");
  CHECK(s.agent.snapshot_max_mb == 0);
  CHECK(s.agent.on_shutdown == "keep");
  CHECK(s.agent.disk_overcommit == 4.0);
  CHECK(s.agent.min_free_mb == 1024);
  CHECK(s.firecracker.kernel.empty());
  CHECK(s.firecracker.boot_args == "console=ttyS0 reboot=k panic=1 pci=off init=/sbin/nanobox-init");
  CHECK(s.network.bridge_name == "nanobox-br0");
  CHECK(to_string(s.network.subnet) == "10.100.0.0/16");
  CHECK(s.network.host_iface.empty());
  CHECK(s.network.default_mode == "isolated");
  CHECK(s.oci.cache_dir == "/data/oci-cache");
  CHECK(s.oci.dns_server == "10.100.0.1");
  CHECK(s.oci.docker_config == "/home/ann/.docker/config.json");
  CHECK(s.oci.cache_max_mb == 0);
  CHECK(s.pool.replenish_interval_sec == 5);
  CHECK(s.pool.max_idle_sec == 600);
  CHECK(s.pool.memory_max_mb > 0);
  CHECK(s.pool.templates.empty());
  CHECK_FALSE(s.cluster.listen_addr);
  CHECK_FALSE(s.cluster.join_addr);
  CHECK(s.cluster.snapshot_replicas == 1);
  CHECK(s.log.level == "info");
  CHECK(s.log.format.empty());
}

TEST_CASE_METHOD(SettingsFolder, "the seed's nanobox.toml loads unchanged, its keys meaning what they say",
                 "[settings]") {
  sources.file = NANOBOX_CORPUS "/settings/seed.toml";
  const auto s = load();
  CHECK(s.api.listen_addr == ListenAddress{"0.0.0.0", 8080});
  CHECK(s.agent.node_id == "node-01");
  CHECK(s.agent.firecracker_bin == "/usr/local/bin/firecracker");
  CHECK(s.agent.rootfs_dir == "/var/lib/nanobox/rootfs");
  CHECK(s.agent.snapshot_dir == "/var/lib/nanobox/snapshots");
  CHECK(s.firecracker.kernel == "/var/lib/nanobox/kernels/vmlinux-fc");
  CHECK(s.network.host_iface == "eth0");
  CHECK(s.oci.cache_dir == "/var/lib/nanobox/oci-cache");
  CHECK(s.oci.init_binary == "/usr/local/lib/nanobox/nanobox-init");
  CHECK(s.oci.dns_server == "10.100.0.1");
  REQUIRE(s.pool.templates.size() == 1);
  CHECK(s.pool.templates[0] == Settings::Pool::Template{"node22", 3, 10});
}

TEST_CASE_METHOD(SettingsFolder, "flags win over the environment, which wins over the file, which wins over defaults",
                 "[settings]") {
  write("[api]\ndrain_sec = 1\nlisten_addr = '127.0.0.1:1'\n[log]\nlevel = 'debug'\n");
  sources.environment["NANOBOX_API_DRAIN_SEC"] = "2";
  sources.environment["NANOBOX_API_LISTEN_ADDR"] = "127.0.0.1:2";
  sources.args = {"--api.listen_addr=127.0.0.1:3"};
  const auto s = load();
  CHECK(s.log.level == "debug");
  CHECK(s.api.drain_sec == 2);
  CHECK(s.api.listen_addr.port == 3);
}

TEST_CASE_METHOD(SettingsFolder, "the options --log-level and --log-format are short for the keys of [log]",
                 "[settings]") {
  sources.args = {"--log-level", "debug", "--log-format=json"};
  const auto s = load();
  CHECK(s.log.level == "debug");
  CHECK(s.log.format == "json");
}

TEST_CASE_METHOD(SettingsFolder, "the check names a wrong level of a component", "[settings]") {
  write("[log]\nlevels = ['http=debug', 'htp=debug']\n");
  auto loaded = load_settings(sources);
  REQUIRE(loaded);
  const auto problems = check_settings(*loaded);
  REQUIRE(problems.size() == 1);
  CHECK(problems[0].subject == "htp=debug");
}

TEST_CASE_METHOD(SettingsFolder, "args keep what is no setting, in its order", "[settings]") {
  write("[api]\ndrain_sec = 1\n");
  sources.args = {
      "--role", "control",   "--config", sources.file->string(), "--auth.require_on_loopback", "--api.drain_sec",
      "7",      "--version", "--",       "--api.drain_sec=9"};
  sources.file.reset();
  const auto loaded = load_settings(sources).value();
  CHECK(loaded.other_args == std::vector<std::string>{"--role", "control", "--version", "--", "--api.drain_sec=9"});
  CHECK(loaded.file == folder / "nanobox.toml");
  CHECK(loaded.settings.api.drain_sec == 7);
  CHECK(loaded.settings.auth.require_on_loopback);
  CHECK(loaded.given.contains("api.drain_sec"));
  CHECK_FALSE(loaded.given.contains("log.level"));
}

TEST_CASE_METHOD(SettingsFolder, "arrays of texts are separated by commas in environment and flags", "[settings]") {
  sources.environment["NANOBOX_AUTH_KEYS"] = "one,two";
  sources.args = {"--oci.local_roots=/a,~/b"};
  const auto s = load();
  CHECK(s.auth.keys == std::vector<std::string>{"one", "two"});
  CHECK(s.oci.local_roots == std::vector<std::filesystem::path>{"/a", "/home/ann/b"});
}

TEST_CASE_METHOD(SettingsFolder, "an unknown key names file, line, key and the nearest key", "[settings]") {
  const auto error = problem_of("[api]\n\nlisten_adr = '127.0.0.1:80'\n");
  CHECK(error.code == ErrorCode::config_invalid);
  CHECK(error.subject == at(3, "api.listen_adr"));
  CHECK(error.reason == "there is no such key");
  CHECK(error.mend == "did you mean 'api.listen_addr'?");
}

TEST_CASE_METHOD(SettingsFolder, "an unknown section and an unknown key of an entry name the nearest", "[settings]") {
  CHECK(problem_of("[netwrok]\n").mend == "did you mean 'network'?");
  const auto error = problem_of("[[pool.templates]]\nname = 'a'\nmin_redy = 1\n");
  CHECK(error.subject == at(3, "pool.templates[].min_redy"));
  CHECK(error.mend == "did you mean 'pool.templates[].min_ready'?");
  CHECK(problem_of("[pool]\ntemplate = []\n").mend == "did you mean 'pool.templates'?");
  CHECK(problem_of("[xylophone]\n").mend.empty());
}

TEST_CASE_METHOD(SettingsFolder, "a wrong type names what must stand there and what does", "[settings]") {
  const auto error = problem_of("[api]\ndrain_sec = '10'\n");
  CHECK(error.subject == at(2, "api.drain_sec"));
  CHECK(error.reason == "must be a whole number, not a text");
  CHECK(problem_of("[auth]\nkeys = 'one'\n").reason == "must be an array of texts, not a text");
  CHECK(problem_of("[auth]\nkeys = ['a', 1]\n").reason ==
        "must be an array of texts, not an array with other things than texts");
  CHECK(problem_of("[auth]\nrequire_on_loopback = 1\n").reason == "must be true or false, not a whole number");
  CHECK(problem_of("[agent]\nnode_id = 2020-01-01\n").reason == "must be a text, not a date");
  CHECK(problem_of("[api]\ndrain_sec = 1.0\n").reason == "must be a whole number, not a number with a fraction");
  CHECK(problem_of("[api.listen_addr]\n").reason == "must be an address (HOST:PORT), not a table");
  CHECK(problem_of("api = 1\n").reason == "must be a table, not another type");
  CHECK(problem_of("[pool]\ntemplates = {}\n").reason == "must be an array of tables");
  CHECK(problem_of("[pool]\ntemplates = ['node22']\n").reason == "must be an array of tables");
}

TEST_CASE_METHOD(SettingsFolder, "a value out of range, or no known word, is refused with the mend", "[settings]") {
  CHECK(problem_of("[api]\ndrain_sec = -1\n").reason == "must be 0 to 3600");
  CHECK(problem_of("[agent]\nmin_free_mb = -1\n").reason == "must be at least 0");
  CHECK(problem_of("[agent]\ndisk_overcommit = nan\n").reason == "must be 0.1 to 1000");
  CHECK(problem_of("[agent]\nvmm = 'qemu_tcg'\n").mend == "did you mean 'qemu-tcg'?");
  CHECK(problem_of("[api]\nlisten_addr = '8080'\n").reason == "it has no port");
  CHECK(problem_of("[network]\nsubnet = '10.100.0.1/16'\n").mend == "did you mean 10.100.0.0/16?");
  CHECK(problem_of("[network]\nbridge_name = 'a-name-that-is-too-long'\n").subject.ends_with("network.bridge_name"));
  CHECK(problem_of("[oci]\ndns_server = 'resolver'\n").subject.ends_with("oci.dns_server"));
  CHECK(problem_of("[oci]\nlocal_roots = ['images']\n").mend == "write the whole path, from / or ~/");
  CHECK(problem_of("[oci]\ncache_dir = 'cache'\n").subject.ends_with("oci.cache_dir"));
  CHECK(problem_of("[agent]\nnode_id = 'a b'\n").subject.ends_with("agent.node_id"));
  CHECK(problem_of("[firecracker]\nboot_args = \"a\\u0000b\"\n").reason == "holds a control character");
}

TEST_CASE_METHOD(SettingsFolder, "pool entries need a name, once, and fit together", "[settings]") {
  CHECK(problem_of("[[pool.templates]]\nmin_ready = 1\n").reason == "is missing or empty");
  CHECK(problem_of("[[pool.templates]]\nname='a'\nmin_ready = 3\nmax_ready = 2\n").mend == "set it to at least 3");
  CHECK(problem_of("[[pool.templates]]\nname='a'\n[[pool.templates]]\nname='a'\n").reason == "'a' occurs twice");
}

TEST_CASE_METHOD(SettingsFolder, "webhooks need an address, a secret and types that there are", "[settings]") {
  const std::string hook = "[[events.webhooks]]\nurl = 'https://a.example/x'\nsecret = '0123456789abcdef'\n";
  write(hook + "types = ['sandbox.', 'node.lost']\n");
  CHECK(load().events.webhooks.at(0).types.size() == 2);
  CHECK(problem_of(hook + "types = ['sandbox']\n").reason == "'sandbox' is no type of event");
  CHECK(problem_of("[[events.webhooks]]\nurl = 'https://a'\nsecret = 'short'\n").subject.find("secret") !=
        std::string::npos);
  CHECK(problem_of("[[events.webhooks]]\nurl = 'ftp://a'\nsecret = '0123456789abcdef'\n").reason ==
        "'ftp://a' must begin with http:// or https://");
  CHECK(problem_of("[[events.webhooks]]\nsecret = '0123456789abcdef'\n").reason == "is missing or empty");
}

TEST_CASE_METHOD(SettingsFolder, "all problems are listed, not only the first", "[settings]") {
  const auto error = problem_of("[api]\na = 1\nb = 2\n[log]\nlevel = 3\n");
  REQUIRE(error.fields.size() == 3);
  CHECK(error.fields[1].pointer == "/api/b");
}

TEST_CASE_METHOD(SettingsFolder, "text that is no TOML names line and column", "[settings]") {
  const auto error = problem_of("[api]\nlisten_addr = \n");
  CHECK(error.code == ErrorCode::config_invalid);
  CHECK(error.subject.find("nanobox.toml:2:") != std::string::npos);
}

TEST_CASE_METHOD(SettingsFolder, "a named file that is missing, a folder, or too large is refused", "[settings]") {
  sources.file = folder / "none.toml";
  CHECK(problem().code == ErrorCode::file_unreadable);
  sources.file = folder;
  CHECK(problem().reason == "it is no regular file");
  CHECK(problem_of(std::string(2 << 20, '#')).reason == "it is larger than 1 MiB");
}

TEST_CASE_METHOD(SettingsFolder, "the system's file is read where none is named", "[settings]") {
  write("[log]\nlevel = 'warn'\n");
  sources.system_file = *sources.file;
  sources.file.reset();
  CHECK(load().log.level == "warn");
}

TEST_CASE_METHOD(SettingsFolder, "a mistaken variable or flag is named with the nearest", "[settings]") {
  sources.environment["NANOBOX_API_LISTEN_ADR"] = "x";
  auto error = problem();
  CHECK(error.subject == "environment NANOBOX_API_LISTEN_ADR");
  CHECK(error.mend == "did you mean 'NANOBOX_API_LISTEN_ADDR'?");
  sources.environment.erase("NANOBOX_API_LISTEN_ADR");

  sources.args = {"--api.drain_secs=3"};
  error = problem();
  CHECK(error.subject == "flag --api.drain_secs");
  CHECK(error.mend == "did you mean 'api.drain_sec'?");

  sources.args = {"--api.drain_sec=soon"};
  CHECK(problem().reason == "must be a whole number, not a text");
  sources.args = {"--api.drain_sec"};
  CHECK(problem().reason == "it needs a value");
  sources.args = {"--pool.templates=x"};
  CHECK(problem().reason == "arrays of tables come from the file only");
  sources.args = {"--config"};
  CHECK(problem().subject == "flag --config");
  write("[log]\nlevel = 'warn'\n");
  sources.system_file = *std::exchange(sources.file, std::nullopt);
  CHECK(problem().subject == "flag --config");
}

TEST_CASE_METHOD(SettingsFolder, "variables that others set for a service of our name do no harm", "[settings]") {
  sources.environment["NANOBOX_API_SERVICE_HOST"] = "10.0.0.1";
  sources.environment["NANOBOX_SERVER"] = "http://127.0.0.1:1";
  CHECK(load() == (sources.environment.erase("NANOBOX_API_SERVICE_HOST"), load()));
}

TEST_CASE_METHOD(SettingsFolder, "printed settings load again as the same, with secrets masked", "[settings]") {
  write(R"([api]
listen_addr = "[::1]:0"
[auth]
keys = ["top-secret", "other"]
[agent]
disk_overcommit = 2
firecracker_bin = "/opt/a\\b\"c"
[oci]
local_roots = ["/images"]
[[oci.credentials]]
registry = "r.example:5000"
username = "ann"
password = "hidden"
[pool]
memory_max_mb = 77
[[pool.templates]]
name = "a"
min_ready = 1
max_ready = 2
[[pool.templates]]
name = "b"
[cluster]
join_addr = "control:7000"
)");
  auto original = load();
  const auto text = print_settings(original);
  CHECK(text.find("top-secret") == std::string::npos);
  CHECK(text.find("hidden") == std::string::npos);
  write(text);
  const auto again = load();
  original.auth.keys = {"********", "********"};
  original.oci.credentials[0].password = "********";
  CHECK(again == original);
  CHECK(print_settings(again) == text);
}

TEST_CASE_METHOD(SettingsFolder, "the check names each named file that is missing, and only those", "[settings]") {
  CHECK(check_settings(load_settings(sources).value()).empty());
  write("[firecracker]\nkernel = '/nowhere/vmlinux'\n[oci]\nca_file = '" + folder.string() +
        "'\nlocal_roots = ['/nowhere', '" + folder.string() + "']\n");
  const auto errors = check_settings(load_settings(sources).value());
  REQUIRE(errors.size() == 3);
  CHECK(errors[0].subject == "firecracker.kernel = /nowhere/vmlinux");
  CHECK(errors[0].reason == "it is missing");
  CHECK(errors[1].reason == "it is no file");
  CHECK(errors[2].subject == "oci.local_roots = /nowhere");
}

TEST_CASE("each key has its help, and its variable's name belongs to it alone", "[settings]") {
  std::set<std::string> names;
  for (const auto& key : setting_keys()) {
    CHECK_FALSE(key.help.empty());
    CHECK(names.insert(environment_name(key)).second);
  }
  CHECK(environment_name(*find_setting("api.listen_addr")) == "NANOBOX_API_LISTEN_ADDR");
}

TEST_CASE("the committed page of the configuration is the schema's", "[settings]") {
  std::ifstream file(NANOBOX_DOCS "/configuration.md");
  const std::string committed{std::istreambuf_iterator<char>(file), {}};
  const auto page = settings_page();
  INFO("write it anew: nanoboxd --print-config-docs > docs/configuration.md");
  CHECK(committed == page);
}

TEST_CASE("the page of the configuration says of each section what it is about", "[settings]") {
  const auto page = settings_page();
  for (const auto& key : setting_keys()) {
    const auto heading = "\n## [" + std::string(key.section()) + "]\n";
    INFO(heading);
    const auto at = page.find(heading);
    REQUIRE(at != std::string::npos);
    CHECK(page[at + heading.size()] != '\n');
  }
}

TEST_CASE("DATA is NANOBOX_DATA, else by user", "[settings]") {
  CHECK(find_data_folder({{"NANOBOX_DATA", "/a/../b"}}).value() == "/b");
  CHECK(find_data_folder({{"NANOBOX_DATA", "relative"}}).error().code == ErrorCode::config_invalid);
  if (::geteuid() == 0)
    CHECK(find_data_folder({{"HOME", "/home/ann"}}).value() == "/var/lib/nanobox");
  else
    CHECK(find_data_folder({{"HOME", "/home/ann"}}).value() == "/home/ann/.local/share/nanobox");
}
