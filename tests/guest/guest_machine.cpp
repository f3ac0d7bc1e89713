#include "tests/guest/guest_machine.hpp"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <x86intrin.h>

#include <array>
#include <fstream>
#include <stdexcept>

#include "guest/embedded_init.hpp"

namespace nanobox::test {

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

void must_run(const fs::path& program, std::vector<std::string> arguments) {
  auto output = run_command({.program = program, .arguments = std::move(arguments), .env = {}, .descriptors = {}}, 60s);
  if (!output) throw std::runtime_error(describe(output.error()));
  if (!output->exit.succeeded()) throw std::runtime_error(program.string() + ": " + output->err);
}

fs::path kernel() {
  if (const char* named = std::getenv("NANOBOX_KERNEL")) return named;
  auto output =
      run_command({.program = NANOBOX_KERNEL_BUILD, .arguments = {"--cached"}, .env = {}, .descriptors = {}}, 60s);
  if (!output) throw std::runtime_error(describe(output.error()));
  if (!output->exit.succeeded()) throw std::runtime_error("no guest kernel: run guest/kernel/build: " + output->err);
  return output->out.substr(0, output->out.find('\n'));
}

void write_file(const fs::path& path, std::string_view text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

void make_root(const fs::path& folder, const fs::path& image, std::uint64_t disk_mb) {
  const auto init = embedded_init();
  for (const char* empty : {"proc", "sys", "dev", "run", "tmp", "root", "bin"}) fs::create_directories(folder / empty);
  write_file(folder / "sbin/nanobox-init", {reinterpret_cast<const char*>(init.data()), init.size()});
  fs::permissions(folder / "sbin/nanobox-init", fs::perms::owner_all);
  fs::copy_file("/bin/busybox", folder / "bin/busybox");
  must_run(folder / "bin/busybox", {"--install", "-s", folder / "bin"});
  for (const auto& applet : fs::directory_iterator(folder / "bin")) {
    if (!applet.is_symlink()) continue;
    fs::remove(applet);
    fs::create_symlink("/bin/busybox", applet.path());
  }
  write_file(folder / "etc/passwd",
             "root:x:0:0:root:/root:/bin/sh\nworker:x:1000:1001:Worker:/home/worker:/bin/sh\n"
             "nobody:x:65534:65534:nobody:/:/bin/false\n");
  write_file(folder / "etc/group", "root:x:0:\nworker:x:1001:\naudio:x:29:worker,other\nvideo:x:44:other,worker\n");
  write_file(folder / "home/worker/.keep", "");
  write_file(folder / "data/not-executable", "#!/bin/sh\n");
  write_file(folder / "etc/nanobox/env", std::string("FROM_IMAGE=yes\0PATH=/bin:/sbin\0", 31));
  write_file(folder / "etc/nanobox/env.sh", "export FROM_SCRIPT='yes'\n");
  write_file(folder / "etc/nanobox/workdir", "/data\n");
  must_run("/sbin/mke2fs", {"-q", "-F", "-t", "ext4", "-E", "root_owner=0:0,lazy_itable_init=1", "-O",
                            "resize_inode,sparse_super", "-d", folder, image, "16M"});
  fs::resize_file(image, disk_mb << 20);
}

UniqueFd listen_at(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(fd.get(), 4) != 0)
    throw std::runtime_error("cannot listen at " + path);
  return fd;
}

UniqueFd connect_to(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    throw std::runtime_error("cannot connect to " + path);
  ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
  return fd;
}

std::uint64_t tsc_khz() {
  const auto stamp = [] {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_RAW, &now);
    return std::pair{static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec, __rdtsc()};
  };
  const auto first = stamp();
  auto second = first;
  while (second.first - first.first < 20'000'000) second = stamp();
  return (second.second - first.second) * 1'000'000 / static_cast<std::uint64_t>(second.first - first.first);
}

}  // namespace

GuestMachine::GuestMachine(const Options& options) {
  std::string path = "/tmp/nbguest-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) throw std::runtime_error("mkdtemp");
  folder_ = path;
  if (options.copy_of != nullptr) {
    options.copy_of->monitor("stop");
    options.copy_of->monitor("migrate \"exec:cat >" + (folder_ / "state").string() + "\"");
    fs::copy_file(options.copy_of->folder_ / "disk", folder_ / "disk");
  } else {
    make_root(folder_ / "root", folder_ / "disk", options.disk_mb);
  }
  const auto channel = listen_at(folder_ / "ch"), console = listen_at(folder_ / "con"),
             commands = listen_at(folder_ / "mon");
  console_socket_ = connect_to(folder_ / "con");
  monitor_socket_ = connect_to(folder_ / "mon");
  Command command{
      .program = "qemu-system-x86_64",
      .arguments = {"-M",
                    "microvm,acpi=off,rtc=on,pcie=off,usb=off,x-option-roms=off",
                    "-accel",
                    "tcg,thread=multi,tb-size=32",
                    "-cpu",
                    "max,-erms,-fsrm",
                    "-m",
                    "96",
                    "-smp",
                    "1",
                    "-nodefaults",
                    "-no-user-config",
                    "-no-reboot",
                    "-display",
                    "none",
                    "-kernel",
                    kernel(),
                    "-append",
                    "console=ttyS0 quiet reboot=t panic=-1 tsc=reliable no_timer_check tsc_early_khz=" +
                        std::to_string(tsc_khz()) + " nolapic_timer root=/dev/vda rw init=/sbin/nanobox-init " +
                        options.kernel_arguments,
                    "-chardev",
                    "socket,id=ch,fd=3,server=on,wait=off",
                    "-chardev",
                    "socket,id=con,fd=4,server=on,wait=off",
                    "-serial",
                    "chardev:con",
                    "-chardev",
                    "socket,id=mon,fd=5,server=on,wait=off",
                    "-mon",
                    "chardev=mon,mode=readline",
                    "-device",
                    "virtio-serial-device",
                    "-device",
                    "virtserialport,chardev=ch,name=nanobox",
                    "-object",
                    "rng-random,id=rng,filename=/dev/urandom",
                    "-device",
                    "virtio-rng-device,rng=rng",
                    "-drive",
                    "id=disk,if=none,format=raw,file=" + (folder_ / "disk").string(),
                    "-device",
                    "virtio-blk-device,drive=disk"},
      .env = {},
      .descriptors = {{.source = channel.get(), .target = 3},
                      {.source = console.get(), .target = 4},
                      {.source = commands.get(), .target = 5}}};
  if (options.copy_of != nullptr)
    command.arguments.insert(command.arguments.end(), {"-incoming", "exec:cat " + (folder_ / "state").string()});
  auto machine = ChildProcess::spawn(command);
  if (!machine) throw std::runtime_error(describe(machine.error()));
  machine_ = std::make_unique<ChildProcess>(std::move(*machine));
  await_prompt();
  if (options.copy_of == nullptr) return;
  while (monitor("info status").find("inmigrate") != std::string::npos) {
  }
  monitor("cont");
}

GuestMachine::~GuestMachine() {
  machine_.reset();
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

void GuestMachine::open_session(bool resync) {
  channel_ = connect_to(folder_ / "ch");
  std::array<std::byte, 16> nonce{};
  if (::getrandom(nonce.data(), nonce.size(), 0) != static_cast<ssize_t>(nonce.size()))
    throw std::runtime_error("getrandom");
  session_ = std::make_unique<ChannelSession>(nonce, resync);
  unsent_.clear();
  outcomes_.clear();
  const auto patience = Clock::now() + 90s;
  while (!session_->up()) {
    if (Clock::now() > patience) throw std::runtime_error("no HELLO_ACK; the console says: " + console_);
    const auto again = Clock::now() + 200ms;
    while (!session_->up() && move_bytes(again)) {
    }
    session_->repeat_hello();
  }
}

void GuestMachine::drop_session() {
  channel_.reset();
  session_.reset();
}

void GuestMachine::configure(ConfigureMessage message) {
  const int before = configured;
  if (auto sent = session_->configure(message); !sent) throw std::runtime_error(describe(sent.error()));
  until([&] { return configured > before; });
}

void GuestMachine::write_console(const std::string& text) {
  if (::write(console_socket_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    throw std::runtime_error("the console is stuck");
}

std::string GuestMachine::monitor(const std::string& command) {
  const auto line = command + "\n";
  if (::write(monitor_socket_.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    throw std::runtime_error("the monitor is stuck");
  return await_prompt();
}

std::string GuestMachine::await_prompt() {
  std::string answer;
  const auto deadline = Clock::now() + 30s;
  while (!answer.ends_with("(qemu) ")) {
    std::array<char, 4096> bytes{};
    pollfd fd{.fd = monitor_socket_.get(), .events = POLLIN, .revents = 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    const auto ready = ::poll(&fd, 1, static_cast<int>(std::max<decltype(left)>(left, 0)));
    const auto count = ready > 0 ? ::read(fd.fd, bytes.data(), bytes.size()) : 0;
    if (count <= 0) throw std::runtime_error("the monitor says no more than: " + answer);
    answer.append(bytes.data(), static_cast<std::size_t>(count));
  }
  return answer;
}

void GuestMachine::send_raw(std::span<const std::byte> bytes) {
  unsent_.insert(unsent_.end(), bytes.begin(), bytes.end());
}

std::uint32_t GuestMachine::start(const ExecRequest& request, const std::string& input) {
  auto stream = session_->open_exec(request);
  if (!stream) throw std::runtime_error(describe(stream.error()));
  if (auto queued = session_->write_stdin(*stream, input, true); !queued)
    throw std::runtime_error(describe(queued.error()));
  return *stream;
}

StreamOutcome GuestMachine::run(const ExecRequest& request, const std::string& input) {
  return finish(start(request, input));
}

StreamOutcome& GuestMachine::finish(std::uint32_t stream) {
  until([&] { return outcomes_[stream].ended(); });
  return outcomes_[stream];
}

StreamOutcome& GuestMachine::finish(const Result<std::uint32_t>& stream) {
  if (!stream) throw std::runtime_error(describe(stream.error()));
  return finish(*stream);
}

void GuestMachine::send(std::uint32_t stream, std::string_view bytes) {
  constexpr std::size_t piece = 1 << 20;
  for (std::size_t at = 0; at < bytes.size() && !outcomes_[stream].ended(); at += piece) {
    if (auto sent = session_->write_stdin(stream, bytes.substr(at, piece), false); !sent)
      throw std::runtime_error(describe(sent.error()));
    until([&] { return outcomes_[stream].ended() || session_->stdin_queued(stream) < piece; });
  }
}

std::map<std::string, ProcessRecord> GuestMachine::processes() {
  const auto& list = finish(session_->open_processes());
  RecordReader reader;
  reader.feed(std::as_bytes(std::span(list.out)));
  std::map<std::string, ProcessRecord> processes;
  while (const auto record = *reader.next()) {
    auto process = *read_process(*record);
    processes.emplace(process.process_id, process);
  }
  if (!reader.finish()) throw std::runtime_error("a cut-off record");
  return processes;
}

void GuestMachine::until(const std::function<bool()>& done, std::chrono::seconds patience) {
  const auto deadline = Clock::now() + patience;
  while (!done())
    if (!move_bytes(deadline)) throw std::runtime_error("nothing came in time; the console says: " + console_);
}

void GuestMachine::let_pass(std::chrono::milliseconds time) {
  const auto end = Clock::now() + time;
  while (move_bytes(end)) {
  }
}

/// One round of reading and writing; false once it is `until`.
bool GuestMachine::move_bytes(Clock::time_point until) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
  if (left.count() <= 0) return false;
  if (session_) {
    const auto output = session_->take_output();
    unsent_.insert(unsent_.end(), output.begin(), output.end());
  }
  pollfd fds[] = {{.fd = channel_.get(), .events = POLLIN, .revents = 0},
                  {.fd = console_socket_.get(), .events = POLLIN, .revents = 0}};
  if (!unsent_.empty()) fds[0].events |= POLLOUT;
  ::poll(fds, 2, static_cast<int>(left.count()));
  static std::array<std::byte, 65536> buffer;
  if (fds[1].revents != 0) {
    const auto count = ::read(console_socket_.get(), buffer.data(), buffer.size());
    if (count > 0) console_.append(reinterpret_cast<const char*>(buffer.data()), static_cast<std::size_t>(count));
    if (count == 0) console_socket_.reset();
  }
  if ((fds[0].revents & POLLOUT) != 0) {
    const auto count = ::send(channel_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
    if (count > 0) unsent_.erase(unsent_.begin(), unsent_.begin() + count);
  }
  if ((fds[0].revents & (POLLIN | POLLHUP)) != 0) {
    const auto count = ::read(channel_.get(), buffer.data(), buffer.size());
    if (count == 0) throw std::runtime_error("the machine is gone; the console says: " + console_);
    if (count > 0) {
      bytes_in += static_cast<std::size_t>(count);
      auto events = session_->feed(std::span(buffer).first(static_cast<std::size_t>(count)));
      if (!events) throw std::runtime_error(describe(events.error()));
      for (const auto& event : *events) take(event);
    }
  }
  return true;
}

void GuestMachine::take(const ChannelEvent& event) {
  if (const auto* up = std::get_if<SessionUp>(&event)) up_ = *up;
  if (std::holds_alternative<Configured>(event)) ++configured;
  if (std::holds_alternative<Quiesced>(event)) ++quiesced;
  if (std::holds_alternative<Thawed>(event)) ++thawed;
  if (const auto* answer = std::get_if<Pong>(&event)) pong = *answer;
  if (const auto* answer = std::get_if<GuestStats>(&event)) stats = *answer;
  if (const auto* opened = std::get_if<Opened>(&event)) {
    outcomes_[opened->stream].pid = opened->pid;
    outcomes_[opened->stream].opened = *opened;
  }
  if (const auto* gap = std::get_if<OutputGap>(&event)) outcomes_[gap->stream].gaps.push_back(gap->offset);
  if (const auto* exit = std::get_if<StreamExit>(&event)) outcomes_[exit->stream].exit = *exit;
  if (const auto* error = std::get_if<StreamError>(&event)) {
    if (error->stream == 0)
      control_error = *error;
    else
      outcomes_[error->stream].error = *error;
  }
  if (const auto* data = std::get_if<StreamData>(&event)) {
    auto& outcome = outcomes_[data->stream];
    (data->part == StreamPart::stdout_part ? outcome.out : outcome.err)
        .append(reinterpret_cast<const char*>(data->bytes.data()), data->bytes.size());
    ++outcome.frames;
    if (outcome.parts.empty() || outcome.parts.back() != data->part) outcome.parts.push_back(data->part);
    outcome.last |= data->last && data->part == StreamPart::stdout_part;
    if (grants) session_->grant(data->stream, static_cast<std::uint32_t>(data->bytes.size()));
  }
}

}  // namespace nanobox::test
