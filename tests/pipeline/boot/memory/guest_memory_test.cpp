#include "pipeline/boot/memory/guest_memory.hpp"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <csignal>
#include <functional>

#include "pipeline/boot/memory/memory_layer_format.h"
#include "pipeline/boot/memory/pagemap.hpp"
#include "tests/pipeline/boot/memory/memory_fixture.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

/// A child process that did something and now waits to be killed.
class WaitingChild {
public:
  explicit WaitingChild(const std::function<bool()>& work) {
    int ready[2];
    REQUIRE(pipe2(ready, O_CLOEXEC) == 0);
    pid_ = fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (work()) (void)!write(ready[1], "x", 1);
      for (;;) pause();
    }
    ::close(ready[1]);
    char byte = 0;
    REQUIRE(read(ready[0], &byte, 1) == 1);
    ::close(ready[0]);
  }
  WaitingChild(const WaitingChild&) = delete;
  ~WaitingChild() { end(); }
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, -1), nullptr, 0);
  }
  pid_t pid() const { return pid_; }

private:
  pid_t pid_ = -1;
};

/// Maps as the preload does: anonymous memory, the file's data over it. Between guards, as QEMU's.
char* map_like_a_vmm(const std::filesystem::path& file, std::uint64_t bytes, const std::vector<PageRun>& data) {
  auto* reserved = static_cast<char*>(
      mmap(nullptr, bytes + 2 * page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (reserved == MAP_FAILED) return nullptr;
  auto* begin = reserved + page_bytes;
  const int flags = MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED;
  if (mmap(begin, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) return nullptr;
  const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  for (const auto& run : data)
    if (mmap(begin + run.first * page_bytes, run.count * page_bytes, PROT_READ | PROT_WRITE, flags, fd.get(),
             static_cast<off_t>(run.first * page_bytes)) == MAP_FAILED)
      return nullptr;
  return begin;
}

bool look_at(const char* begin, std::uint64_t page) {
  return *static_cast<const volatile char*>(begin + page * page_bytes) == 0 || true;
}

}  // namespace

TEST_CASE_METHOD(MemoryFixture, "the pages a process wrote are found and copied, and no others", "[memory]") {
  const auto file = memory_file("abcd....efgh....");
  const WaitingChild child([&] {
    auto* begin = map_like_a_vmm(file, 16 * page_bytes, {{0, 4}, {8, 4}});
    if (begin == nullptr) return false;
    look_at(begin, 0);   // a page of the file
    look_at(begin, 13);  // the page of zeros
    memset(begin + page_bytes, 'B', page_bytes);
    memset(begin + 2 * page_bytes, 'C', page_bytes);
    memset(begin + 6 * page_bytes, 'X', page_bytes);
    memset(begin + 11 * page_bytes, 0, page_bytes);
    return true;
  });
  const auto memory = must(GuestMemory::open(child.pid(), file, 16 * page_bytes));
  const std::vector<PageRun> expected{{1, 2}, {6, 1}, {11, 1}};
  CHECK(must(memory.dirty_pages()) == expected);
  const UniqueFd pagemap(::open(("/proc/" + std::to_string(child.pid()) + "/pagemap").c_str(), O_RDONLY | O_CLOEXEC));
  const auto by_table = must(read_own_pages(pagemap.get(), memory.address(), memory.memory_bytes()));
  if (geteuid() == 0) CHECK(by_table == expected);
  const auto by_scan = scan_own_pages(pagemap.get(), memory.address(), memory.memory_bytes());
  if (by_scan) CHECK(*by_scan == expected);

  PageBuffer buffer;
  must(memory.read(expected, buffer));
  const auto letters = [&] {
    return letters_of({reinterpret_cast<const char*>(buffer.bytes().data()), buffer.bytes().size()});
  };
  CHECK(letters() == "BCX.");
  // Clean pages can be read as well, mapped or not.
  must(memory.read(std::vector<PageRun>{{0, 16}}, buffer));
  CHECK(letters() == "aBCd..X.efg.....");
  CHECK_FALSE(memory.read(std::vector<PageRun>{{15, 2}}, buffer));
}

TEST_CASE_METHOD(MemoryFixture, "memory of an empty file is found, and all that is in it", "[memory]") {
  const auto file = memory_file(std::string(64, '.'));
  const WaitingChild child([&] {
    auto* begin = map_like_a_vmm(file, 64 * page_bytes, {});
    if (begin != nullptr) memset(begin + 40 * page_bytes, 'q', 3 * page_bytes);
    return begin != nullptr;
  });
  const auto memory = must(GuestMemory::open(child.pid(), file, 64 * page_bytes));
  CHECK(must(memory.dirty_pages()) == std::vector<PageRun>{{40, 3}});
  CHECK_FALSE(GuestMemory::open(child.pid(), folder / "none", 64 * page_bytes));
}

TEST_CASE_METHOD(MemoryFixture, "scattered pages are copied right, and make a layer", "[memory]") {
  constexpr std::uint64_t pages = 4 * NANOBOX_LAYER_RUNS_MAX;
  const auto file = memory_file(std::string(pages, '.'));
  const WaitingChild child([&] {
    auto* begin = map_like_a_vmm(file, pages * page_bytes, {});
    for (std::uint64_t page = 0; begin != nullptr && page < pages; page += 2)
      memcpy(begin + page * page_bytes, &page, sizeof page);
    return begin != nullptr;
  });
  const auto memory = must(GuestMemory::open(child.pid(), file, pages * page_bytes));
  const auto runs = must(memory.dirty_pages());
  CHECK(runs.size() == pages / 2);
  auto buffer = must(PageBuffer::create(pages / 2 * page_bytes));
  must(memory.read(runs, buffer));  // much: from two threads
  REQUIRE(buffer.bytes().size() == pages / 2 * page_bytes);
  const MemoryContents contents{
      .memory_bytes = pages * page_bytes, .base = file, .older = nullptr, .runs = runs, .pages = buffer.bytes()};
  must(write_memory_layer(folder / "layer", contents, false));
  const auto layer = must(open_memory_layer(folder / "layer"));
  CHECK(layer.runs.size() == NANOBOX_LAYER_RUNS_MAX);
  CHECK(verify_pages(layer));
  const auto content = content_of(layer.path);
  std::uint64_t at = layer.pages_offset, wrong = 0, dirty = 0;
  for (const auto& run : layer.runs)
    for (auto page = run.first; page < run.end(); ++page, at += page_bytes) {
      std::uint64_t found = 0;
      memcpy(&found, &content[at], sizeof found);
      wrong += found != (page % 2 == 0 ? page : 0);
      dirty += page % 2 == 0;
    }
  CHECK(at == content.size());
  CHECK(wrong == 0);
  CHECK(dirty == pages / 2);
}

TEST_CASE_METHOD(MemoryFixture, "a process that has ended is an error, not memory", "[memory]") {
  const auto file = memory_file("abcd");
  WaitingChild child([&] { return map_like_a_vmm(file, 4 * page_bytes, {{0, 4}}) != nullptr; });
  const auto memory = must(GuestMemory::open(child.pid(), file, 4 * page_bytes));
  child.end();
  PageBuffer buffer;
  CHECK_FALSE(memory.read(std::vector<PageRun>{{0, 1}}, buffer));
  const auto pages = memory.dirty_pages();
  CHECK((!pages || pages->empty()));
}

TEST_CASE("a page buffer grows and keeps what it holds", "[memory]") {
  auto buffer = must(PageBuffer::create(page_bytes));
  must(buffer.resize(3 * page_bytes));
  memset(buffer.bytes().data(), 'k', 3 * page_bytes);
  const auto before = buffer.capacity();
  must(buffer.resize(9U << 20));
  CHECK(buffer.capacity() > before);
  CHECK(letters_of({reinterpret_cast<const char*>(buffer.bytes().data()), 4 * page_bytes}) == "kkk.");
  auto moved = std::move(buffer);
  CHECK(moved.bytes().size() == 9U << 20);
  CHECK_FALSE(moved.reserve(std::uint64_t{1} << 60));
  CHECK(moved.bytes().size() == 9U << 20);
}
