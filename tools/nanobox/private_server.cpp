#include "tools/nanobox/private_server.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <fstream>
#include <iterator>

#include "config/data_folder.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/server_address.hpp"

namespace nanobox::cli {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr auto kStartPatience = 60s;
constexpr auto kStopPatience = 30s;

fs::path folder_of(const fs::path& data) {
  return data / "client";
}

Error start_error(std::string reason, std::string mend) {
  return {.code = ErrorCode::not_ready,
          .attempted = "start a server of our own",
          .subject = "",
          .reason = std::move(reason),
          .mend = std::move(mend)};
}

Result<UniqueFd> open_lock(const fs::path& file) {
  UniqueFd lock{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!lock) return fail(errno_error(errno, "open", file));
  return lock;
}

Result<UniqueFd> take_lock(const fs::path& file, int how) {
  auto lock = NANOBOX_TRY(open_lock(file));
  while (::flock(lock.get(), how) != 0)
    if (errno != EINTR) return fail(errno_error(errno, "lock", file));
  return lock;
}

std::string read_text(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

Result<void> write_private(const fs::path& file, const std::string& text) {
  const auto temporary = fs::path(file.string() + ".new");
  const UniqueFd out{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!out || ::write(out.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::rename(temporary.c_str(), file.c_str()) != 0)
    return fail(errno_error(errno, "write", file));
  return {};
}

Result<std::string> random_key() {
  std::array<unsigned char, 32> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return fail(errno_error(errno, "make a key", ""));
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string key;
  for (const auto byte : bytes) {
    key += kDigits[byte >> 4];
    key += kDigits[byte & 15];
  }
  return key;
}

/// The daemon that holds the folder's lock, by its pidfd; empty: none does.
UniqueFd running_daemon(const fs::path& folder) {
  const UniqueFd lock{::open((folder / "lock").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
  if (!lock || ::flock(lock.get(), LOCK_SH | LOCK_NB) == 0) return {};
  const auto text = read_text(folder / "lock");
  pid_t pid = 0;
  std::from_chars(text.data(), text.data() + text.size(), pid);
  if (pid <= 1) return {};
  UniqueFd daemon{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
  // Still locked: the pid was its holder's when the descriptor was taken.
  return ::flock(lock.get(), LOCK_SH | LOCK_NB) == 0 ? UniqueFd{} : std::move(daemon);
}

bool has_ended(const UniqueFd& daemon, Clock::duration patience) {
  pollfd waiting{daemon.get(), POLLIN, 0};
  const auto wait_ms = std::chrono::ceil<std::chrono::milliseconds>(patience).count();
  return ::poll(&waiting, 1, static_cast<int>(wait_ms)) == 1;
}

/// What a server of our own is told; the rest comes from the environment. Each start has another key, but always the
/// owner "admin", so that templates made before are found again.
std::string settings_text(const std::string& key) {
  return "# Written by nanobox for the server it keeps for itself.\n"
         "[api]\nlisten_addr = \"127.0.0.1:0\"\n[auth]\nkeys = [\"admin:" +
         key + "\"]\n[oci]\nlocal_roots = [\"/\"]\n[log]\nformat = \"text\"\n";
}

std::vector<std::string> daemon_environment(const Environment& environment, const fs::path& folder) {
  std::vector<std::string> entries;
  for (const auto& [name, value] : environment)
    if (name != "NANOBOX_DATA" && !name.starts_with("NANOBOX_API_") && !name.starts_with("NANOBOX_AUTH_"))
      entries.push_back(name + "=" + value);
  entries.push_back("NANOBOX_DATA=" + folder.string());
  return entries;
}

/// Starts a program that outlives us: a session of its own, no signals blocked, its words in `log`.
Result<pid_t> spawn_daemon(const fs::path& program, std::vector<std::string> args, std::vector<std::string> environment,
                           const fs::path& log) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  struct Destroy {
    posix_spawn_file_actions_t* files;
    posix_spawnattr_t* attributes;
    ~Destroy() {
      posix_spawn_file_actions_destroy(files);
      posix_spawnattr_destroy(attributes);
    }
  } const destroy{&files, &attributes};
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  posix_spawn_file_actions_addclosefrom_np(&files, 3);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  args.insert(args.begin(), program.string());
  const auto pointers = [](std::vector<std::string>& texts) {
    std::vector<char*> out;
    for (auto& text : texts) out.push_back(text.data());
    out.push_back(nullptr);
    return out;
  };
  pid_t pid = -1;
  const int wrong =
      ::posix_spawn(&pid, program.c_str(), &files, &attributes, pointers(args).data(), pointers(environment).data());
  if (wrong != 0) return fail(errno_error(wrong, "run", program, ErrorCode::file_unreadable));
  return pid;
}

std::string last_lines(const fs::path& log) {
  auto text = read_text(log);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::size_t from = text.size();
  for (int lines = 0; lines < 8 && from != std::string::npos && from > 0; ++lines) from = text.rfind('\n', from - 1);
  return from == std::string::npos ? text : text.substr(from == 0 ? 0 : from + 1);
}

/// Waits until the daemon has written its address: woken by the folder's changes and the daemon's end.
Result<void> await_address(const fs::path& folder, const UniqueFd& changes, const UniqueFd& daemon,
                           Interruption& interruption) {
  const auto deadline = Clock::now() + kStartPatience;
  while (!fs::exists(address_file(folder))) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0)
      return fail(start_error("it did not listen within a minute", "see " + (folder / "nanoboxd.log").string()));
    pollfd waiting[] = {{changes.get(), POLLIN, 0}, {daemon.get(), POLLIN, 0}, {interruption.fd(), POLLIN, 0}};
    ::poll(waiting, 3, static_cast<int>(left));
    if (interruption.check())
      return fail({.code = ErrorCode::cancelled,
                   .attempted = "start a server of our own",
                   .subject = "",
                   .reason = "interrupted",
                   .mend = ""});
    if (waiting[1].revents != 0)
      return fail(start_error("nanoboxd ended at once:\n" + last_lines(folder / "nanoboxd.log"), ""));
    char events[4096];
    while (::read(changes.get(), events, sizeof events) > 0) {
    }
  }
  return {};
}

bool answers(const ServerAddress& server, Interruption& interruption) {
  ApiClient client(server, &interruption);
  const auto answer = client.send({.method = "GET", .path = "/healthz", .body = "", .patience = 5s});
  return answer && answer->status == 200;
}

Result<void> start_daemon(const fs::path& folder, const Environment& environment, Interruption& interruption) {
  const auto program = NANOBOX_TRY(find_program("nanoboxd", environment));
  const auto key = NANOBOX_TRY(random_key());
  NANOBOX_TRY(write_private(folder / "key", key));
  NANOBOX_TRY(write_private(folder / "nanobox.toml", settings_text(key)));
  std::error_code ignored;
  fs::remove(address_file(folder), ignored);
  const UniqueFd changes{::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
  if (!changes || ::inotify_add_watch(changes.get(), folder.c_str(), IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE) < 0)
    return fail(errno_error(errno, "watch folder", folder));
  const auto pid = NANOBOX_TRY(spawn_daemon(program, {"--config", (folder / "nanobox.toml").string()},
                                            daemon_environment(environment, folder), folder / "nanoboxd.log"));
  const UniqueFd daemon{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
  auto listening = await_address(folder, changes, daemon, interruption);
  if (!listening) {
    ::kill(pid, SIGTERM);
    if (!has_ended(daemon, kStopPatience)) ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  return listening;
}

/// Whether the server is to live on: a sandbox is left that is neither failed nor about to go.
bool has_sandboxes(const ServerAddress& server) {
  ApiClient client(server, nullptr);
  const auto answer =
      client.send({.method = "GET", .path = "/api/v1/sandboxes?limit=1000", .body = "", .patience = 10s});
  if (!answer || answer->status != 200) return false;
  const auto list = answer->json();
  const auto* items = json_member(list, "items");
  if (items == nullptr || !items->IsArray()) return true;
  for (const auto& sandbox : items->GetArray())
    if (const auto status = json_text(sandbox, "status"); status != "failed" && status != "stopping") return true;
  return false;
}

}  // namespace

Result<std::filesystem::path> find_program(const std::string& name, const Environment& environment) {
  std::error_code ignored;
  std::vector<fs::path> folders;
  if (const auto self = fs::read_symlink("/proc/self/exe", ignored); !self.empty())
    folders.push_back(self.parent_path());
  if (const auto path = environment.find("PATH"); path != environment.end()) {
    std::string_view rest = path->second;
    while (!rest.empty()) {
      const auto colon = std::min(rest.find(':'), rest.size());
      if (colon > 0) folders.emplace_back(rest.substr(0, colon));
      rest.remove_prefix(std::min(colon + 1, rest.size()));
    }
  }
  for (const auto& folder : folders)
    if (fs::is_regular_file(folder / name, ignored) && ::access((folder / name).c_str(), X_OK) == 0)
      return folder / name;
  return fail({.code = ErrorCode::file_unreadable,
               .attempted = "find program",
               .subject = name,
               .reason = "it is neither beside nanobox nor in PATH",
               .mend = "install it, or name a server with --server"});
}

Result<std::optional<PrivateServer>> PrivateServer::join_locked(const fs::path& folder, Interruption& interruption) {
  if (!running_daemon(folder)) return std::nullopt;
  const auto url = server_url(read_text(address_file(folder)));
  if (!url) return std::nullopt;
  ServerAddress address{.url = *url, .key = read_text(folder / "key")};
  if (!answers(address, interruption)) return std::nullopt;
  auto users = NANOBOX_TRY(take_lock(folder / "users.lock", LOCK_SH));
  return PrivateServer(folder, std::move(address), std::move(users));
}

Result<std::optional<PrivateServer>> PrivateServer::join(const fs::path& data, Interruption& interruption) {
  const auto folder = folder_of(data);
  std::error_code ignored;
  if (!fs::exists(folder / "lock", ignored)) return std::nullopt;
  const auto starting = NANOBOX_TRY(take_lock(folder / "start.lock", LOCK_EX));
  return join_locked(folder, interruption);
}

Result<PrivateServer> PrivateServer::join_or_start(const fs::path& data, const Environment& environment,
                                                   Interruption& interruption) {
  const auto folder = folder_of(data);
  std::error_code made;
  fs::create_directories(data, made);
  if (made) return fail(errno_error(made.value(), "make folder", data));
  // Only where it is new: a running daemon lets its VMMs walk through.
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return fail(errno_error(errno, "make folder", folder));
  const auto starting = NANOBOX_TRY(take_lock(folder / "start.lock", LOCK_EX));
  if (auto running = NANOBOX_TRY(join_locked(folder, interruption))) return std::move(*running);
  NANOBOX_TRY(start_daemon(folder, environment, interruption));
  if (auto running = NANOBOX_TRY(join_locked(folder, interruption))) return std::move(*running);
  return fail(start_error("it listens, but does not answer", "see " + (folder / "nanoboxd.log").string()));
}

PrivateServer::~PrivateServer() {
  if (!users_) return;  // moved from
  const auto starting = take_lock(folder_ / "start.lock", LOCK_EX);
  if (!starting || ::flock(users_.get(), LOCK_EX | LOCK_NB) != 0 || has_sandboxes(address_)) return;
  const auto daemon = running_daemon(folder_);
  if (!daemon) return;
  ::syscall(SYS_pidfd_send_signal, daemon.get(), SIGTERM, nullptr, 0);
  has_ended(daemon, kStopPatience);
}

}  // namespace nanobox::cli
