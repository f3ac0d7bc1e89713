// Plays the VMM. Its first argument says what it does.

#include "tests/pipeline/boot/vmm/confine_escape.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

namespace {

constexpr int report_fd = 3;

int wait_for_ever() {
  for (;;) ::pause();
}

int touch(long mebibytes) {
  for (long i = 0; i < mebibytes; ++i) {
    void* block = ::mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) return 3;
    std::memset(block, 1, 1 << 20);
  }
  return 0;
}

/// Every child lives on, so that the limit is on how many there are at once.
int fork_all() {
  int made = 0;
  for (; made < 2000; ++made) {
    const pid_t pid = ::fork();
    if (pid < 0) break;
    if (pid == 0) wait_for_ever();
  }
  ::dprintf(report_fd, "%d\n", made);
  return wait_for_ever();
}

int spin(long milliseconds) {
  timespec used{};
  do {
    for (int i = 0; i < 100'000; ++i) asm volatile("");
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  } while (used.tv_sec * 1000 + used.tv_nsec / 1'000'000 < milliseconds);
  return 0;
}

int say(long bytes) {
  for (long i = 0; i < bytes / 10; ++i) std::fprintf(stderr, "%09ld\n", i);
  return 0;
}

int fill(const char* path, long bytes) {
  const int file = ::open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const std::string block(4096, 'x');
  for (long done = 0; done < bytes; done += 4096)
    if (::write(file, block.data(), block.size()) != 4096) return 4;
  return 0;
}

int open_many() {
  int opened = 0;
  while (::dup(0) >= 0) ++opened;
  ::dprintf(report_fd, "%d\n", opened);
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  const std::string what = count > 1 ? arguments[1] : "wait";
  const long number = count > 2 ? std::atol(arguments[2]) : 0;
  if (what == "wait") return wait_for_ever();
  if (what == "exit") return static_cast<int>(number);
  if (what == "crash") ::abort();
  if (what == "touch") return touch(number);
  if (what == "forks") return fork_all();
  if (what == "spin") return spin(number);
  if (what == "say") return say(number);
  if (what == "say-wait") return say(number), wait_for_ever();
  if (what == "fill") return fill(arguments[3], number);
  if (what == "open") return open_many();
  if (what == "echo") return ::dprintf(report_fd, "%s\n", arguments[2]) > 0 ? 0 : 1;
  if (what == "escape") return try_to_escape(report_fd, count - 2, arguments + 2);
  return 99;
}
