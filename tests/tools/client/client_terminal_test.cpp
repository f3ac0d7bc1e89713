#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>

#include <cstring>

#include "tests/tools/client/client_fixture.hpp"

using namespace nanobox;

namespace {

/// The client as the leader of a terminal's session, and us where a person would sit.
class Person {
public:
  explicit Person(const Command& command) {
    const winsize size{.ws_row = 30, .ws_col = 100, .ws_xpixel = 0, .ws_ypixel = 0};
    const auto pointers = [](std::vector<std::string>& texts) {
      std::vector<char*> out;
      for (auto& text : texts) out.push_back(text.data());
      out.push_back(nullptr);
      return out;
    };
    auto args = command.arguments;
    args.insert(args.begin(), command.program.string());
    auto env = *command.env;
    env.emplace_back("TERM=xterm-test");
    const auto argv = pointers(args), envp = pointers(env);
    int master = -1;
    pid_ = ::forkpty(&master, nullptr, nullptr, &size);
    if (pid_ == 0) {
      ::execve(command.program.c_str(), argv.data(), envp.data());
      ::_exit(127);
    }
    REQUIRE(pid_ > 0);
    master_.reset(master);
    // Our own hold on the other end: its modes are looked at when the client has ended.
    slave_.reset(::open(::ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC));
    pidfd_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    REQUIRE((slave_ && pidfd_));
  }
  ~Person() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Person(const Person&) = delete;
  Person& operator=(const Person&) = delete;

  void type(std::string_view keys) {
    REQUIRE(::write(master_.get(), keys.data(), keys.size()) == static_cast<ssize_t>(keys.size()));
  }
  /// Reads on until `text` has been shown.
  void sees(std::string_view text) {
    while (shown_.find(text) == std::string::npos) {
      pollfd waiting{master_.get(), POLLIN, 0};
      INFO("waits for '" << text << "' in: " << shown_);
      REQUIRE(::poll(&waiting, 1, 60'000) == 1);
      read_some();
    }
    shown_.erase(0, shown_.find(text) + text.size());
  }
  /// Reads on until the client has ended. @returns what a shell would show: 128 + signal
  int code() {
    for (;;) {
      pollfd waiting[] = {{pidfd_.get(), POLLIN, 0}, {master_.get(), POLLIN, 0}};
      REQUIRE(::poll(waiting, 2, 60'000) > 0);
      if (waiting[1].revents != 0) read_some();
      if (waiting[0].revents == 0 || (waiting[1].revents & POLLIN) != 0) continue;
      int status = 0;
      REQUIRE(::waitpid(std::exchange(pid_, -1), &status, 0) > 0);
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
  }
  void signal(int number) const { ::kill(pid_, number); }
  void resize(unsigned short columns, unsigned short rows) const {
    const winsize size{.ws_row = rows, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    REQUIRE(::ioctl(master_.get(), TIOCSWINSZ, &size) == 0);
  }
  termios modes() const {
    termios modes{};
    REQUIRE(::tcgetattr(slave_.get(), &modes) == 0);
    return modes;
  }
  bool is_raw() const { return (modes().c_lflag & (ICANON | ECHO | ISIG)) == 0; }
  const std::string& shown() const { return shown_; }
  void hang_up() {
    slave_.reset();
    master_.reset();
  }

private:
  void read_some() {
    char bytes[4096];
    const auto got = ::read(master_.get(), bytes, sizeof bytes);
    if (got > 0) shown_.append(bytes, static_cast<std::size_t>(got));
  }
  pid_t pid_ = -1;
  UniqueFd master_, slave_, pidfd_;
  std::string shown_;
};

bool same(const termios& one, const termios& other) {
  return one.c_iflag == other.c_iflag && one.c_oflag == other.c_oflag && one.c_cflag == other.c_cflag &&
         one.c_lflag == other.c_lflag && std::memcmp(one.c_cc, other.c_cc, sizeof one.c_cc) == 0;
}

/// A session whose terminal is raw; at the end it is as it was.
class TerminalSessions : public ClientWithSandbox {
public:
  std::unique_ptr<Person> person(const std::vector<std::string>& words) {
    std::vector<std::string> args = {"exec", "-it", "sb-0"};
    args.insert(args.end(), words.begin(), words.end());
    auto sitting = std::make_unique<Person>(command(args));
    before_ = sitting->modes();
    return sitting;
  }
  void check_restored(const Person& person) const { CHECK(same(person.modes(), before_)); }

private:
  termios before_{};
};

}  // namespace

TEST_CASE_METHOD(TerminalSessions, "a terminal session shows, echoes, and ends with the command's exit code",
                 "[client][terminal]") {
  const auto person = this->person({"sh", "-c", "stty size; echo term $TERM; read x; echo \"<$x>\"; exit 5"});
  person->sees("30 100");
  person->sees("term xterm-test");
  CHECK(person->is_raw());
  person->type("hello\r");
  person->sees("<hello>");
  CHECK(person->code() == 5);
  check_restored(*person);
}

TEST_CASE_METHOD(TerminalSessions, "Ctrl-C and Ctrl-D go inside", "[client][terminal]") {
  const auto person = this->person(
      {"sh", "-c", "trap 'echo inter\"\"rupted; cat; echo done; exit 0' INT; echo ready; while :; do sleep 0.1; done"});
  person->sees("ready");
  person->type("\x03");
  person->sees("interrupted");
  person->type("\x04");
  person->sees("done");
  CHECK(person->code() == 0);
  check_restored(*person);
}

TEST_CASE_METHOD(TerminalSessions, "another size of our terminal is told inside", "[client][terminal]") {
  const auto person = this->person({"sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done"});
  person->sees("ready");
  person->resize(77, 11);
  person->sees("11 77");
  person->type("\r~.");
  CHECK(person->code() == 125);
  check_restored(*person);
}

TEST_CASE_METHOD(TerminalSessions, "a session that hangs is left by ~. and explained by ~?", "[client][terminal]") {
  const auto person = this->person({"hang"});
  person->sees("ready");
  person->type("~?");
  person->sees("leaves the session");
  person->type("\r~.");
  person->sees("left the session");
  CHECK(person->code() == 125);
  check_restored(*person);
}

TEST_CASE_METHOD(TerminalSessions, "signals end a session with the terminal as it was", "[client][terminal]") {
  const int number = GENERATE(SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGABRT, SIGSEGV);
  const auto person = this->person({"hang"});
  person->sees("ready");
  REQUIRE(person->is_raw());
  person->signal(number);
  CHECK(person->code() == 128 + number);
  check_restored(*person);
}

TEST_CASE_METHOD(TerminalSessions, "a server that goes away ends a session with the terminal as it was",
                 "[client][terminal]") {
  const auto person = this->person({"vanish"});
  person->sees("ready");
  person->type("x");
  person->sees("the connection to the server broke");
  CHECK(person->code() == 125);
  check_restored(*person);
}

TEST_CASE_METHOD(TerminalSessions, "a failure inside is said, with the terminal as it was", "[client][terminal]") {
  const auto person = this->person({"fail"});
  person->sees("ready");
  person->type("x");
  person->sees("the guest is gone");
  CHECK(person->code() == 125);
  check_restored(*person);
}

TEST_CASE_METHOD(TerminalSessions, "a refused session never touches the terminal", "[client][terminal]") {
  Person person(command({"shell", "sb-9"}));
  const auto before = person.modes();
  person.sees("no sandbox has the id 'sb-9'");
  CHECK(person.code() == 125);
  CHECK(same(person.modes(), before));
}

TEST_CASE_METHOD(TerminalSessions, "a stop gives the terminal back, and going on takes it again",
                 "[client][terminal]") {
  const auto person = this->person({"sh", "-c", "echo ready; read x; echo \"<$x>\""});
  person->sees("ready");
  person->type("~\x1a");
  siginfo_t stopped{};
  REQUIRE(::waitid(P_ALL, 0, &stopped, WSTOPPED | WEXITED | WNOWAIT) == 0);
  REQUIRE(stopped.si_code == CLD_STOPPED);
  check_restored(*person);
  person->signal(SIGCONT);
  person->type("\r");
  person->sees("<>");
  CHECK(person->code() == 0);
  check_restored(*person);
}

TEST_CASE_METHOD(TerminalSessions, "a terminal that hangs up ends the session", "[client][terminal]") {
  const auto person = this->person({"hang"});
  person->sees("ready");
  person->hang_up();
  siginfo_t ended{};
  REQUIRE(::waitid(P_ALL, 0, &ended, WEXITED | WNOWAIT) == 0);
  CHECK(ended.si_code == CLD_EXITED);
}

TEST_CASE_METHOD(TerminalSessions, "large output is shown whole", "[client][terminal]") {
  const auto person = this->person({"sh", "-c", "seq 1 20000; echo the-end"});
  person->sees("\r\n19999\r\n20000\r\nthe-end");
  CHECK(person->code() == 0);
}

TEST_CASE_METHOD(Client, "run -it is a session in a sandbox of its own", "[client][terminal]") {
  Person person(command({"run", "-it", "x", "sh", "-c", "read x; echo \"<$x>\"; exit 3"}));
  person.type("typed early\r");
  person.sees("<typed early>");
  CHECK(person.code() == 3);
  CHECK(count("DELETE /api/v1/sandboxes/sb-0") == 1);
}

TEST_CASE_METHOD(ClientWithSandbox, "at a terminal a token comes with how to use it", "[client][terminal][node]") {
  Person person(command({"node", "token"}));
  person.sees("nbx1_ab_cd\r\n");
  person.sees("(in 1h)");
  person.sees("umask 077");
  person.sees("nanoboxd --role node --join 10.0.0.1:7443 --token-file node.token");
  CHECK(person.code() == 0);
}

TEST_CASE_METHOD(ClientWithSandbox, "-t without -i needs no terminal here", "[client][terminal]") {
  const auto done = run({"exec", "-t", "sb-0", "sh", "-c", "stty size; exit 6"});
  CHECK(done.exit.exit_code == 6);
  CHECK(done.out == "24 80\r\n");
}
