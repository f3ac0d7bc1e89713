// memory_bench FOLDER [MIB DIRTY_MIB]: how long a guest's dirty pages take to find and copy, and to write as a layer
// and as a file, in FOLDER. The guest is a process that maps a memory file as a VMM does.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "pipeline/boot/memory/flat_memory.hpp"
#include "pipeline/boot/memory/guest_memory.hpp"
#include "pipeline/boot/memory/pagemap.hpp"

using namespace nanobox;

namespace {

constexpr int rounds = 15;
constexpr std::uint64_t data_stride = 5U << 20;

template <class T>
T must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", describe(result.error()).c_str());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

void measure(
    const char* what, const std::function<void()>& work, const std::function<void()>& after = [] {}) {
  std::vector<double> times;
  for (int round = 0; round < rounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
    after();
  }
  std::sort(times.begin(), times.end());
  std::printf("  %-46s %7.2f %7.2f %7.2f ms\n", what, times.front(), times[times.size() / 2], times.back());
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) return std::fprintf(stderr, "memory_bench FOLDER [MIB DIRTY_MIB]\n"), 2;
  const std::filesystem::path folder = arguments[1];
  const std::uint64_t bytes = (count > 2 ? std::stoull(arguments[2]) : 256) << 20;
  const std::uint64_t dirty = (count > 3 ? std::stoull(arguments[3]) : 24) << 20;
  const auto base = folder / "bench-base", layer_file = folder / "bench-layer", flat_file = folder / "bench-flat",
             older_file = folder / "bench-older";
  {
    // A template's memory: a fifth is data.
    std::filesystem::remove(base);
    const UniqueFd file(::open(base.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    const std::string mebibyte(1U << 20, 'b');
    for (std::uint64_t at = 0; at < bytes; at += data_stride)
      if (pwrite(file.get(), mebibyte.data(), mebibyte.size(), static_cast<off_t>(at)) < 0) return 1;
    if (ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) return 1;
  }
  for (const std::uint64_t run_pages : {1U, 16U, 6144U}) {
    int ready[2];
    if (pipe(ready) != 0) return 1;
    const auto child = fork();
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const UniqueFd file(::open(base.c_str(), O_RDONLY | O_CLOEXEC));
      // Its data only: a private write to a hole on tmpfs makes the shared page as well.
      const int flags = MAP_PRIVATE | MAP_NORESERVE, rights = PROT_READ | PROT_WRITE;
      auto* begin = static_cast<char*>(mmap(nullptr, bytes, rights, flags | MAP_ANONYMOUS, -1, 0));
      for (std::uint64_t at = 0; at < bytes; at += data_stride)
        if (mmap(begin + at, 1U << 20, rights, flags | MAP_FIXED, file.get(), static_cast<off_t>(at)) == MAP_FAILED)
          _exit(1);
      const auto stretches = dirty / page_bytes / run_pages;
      for (std::uint64_t i = 0; i < stretches; ++i)
        for (std::uint64_t page = 0; page < run_pages; ++page) {
          auto* at = begin + (bytes / page_bytes / stretches * i + page) * page_bytes;
          for (std::uint64_t word = 0; word < page_bytes; word += 8) std::memcpy(at + word, &at, 8);
        }
      if (write(ready[1], "x", 1) != 1) _exit(1);
      for (;;) pause();
    }
    char byte = 0;
    if (read(ready[0], &byte, 1) != 1) return 1;
    close(ready[0]);
    close(ready[1]);

    const auto memory = must(GuestMemory::open(child, base, bytes));
    auto buffer = must(PageBuffer::create(2 * dirty));
    std::vector<PageRun> runs = must(memory.dirty_pages());
    std::printf("%llu MiB of %llu MiB dirty in runs of %llu pages: %zu runs, %llu pages copied; least, median, most\n",
                static_cast<unsigned long long>(dirty >> 20), static_cast<unsigned long long>(bytes >> 20),
                static_cast<unsigned long long>(run_pages), runs.size(),
                static_cast<unsigned long long>(count_pages(runs)));
    const UniqueFd pagemap(::open(("/proc/" + std::to_string(child) + "/pagemap").c_str(), O_RDONLY | O_CLOEXEC));
    measure("find, by reading the table", [&] { must(read_own_pages(pagemap.get(), memory.address(), bytes)); });
    measure("find", [&] { runs = must(memory.dirty_pages()); });
    measure("copy", [&] { must(memory.read(runs, buffer)); });
    measure("find and copy", [&] {
      runs = must(memory.dirty_pages());
      must(memory.read(runs, buffer));
    });
    measure("room for it, made beforehand", [&] { must(PageBuffer::create(dirty)); });
    const MemoryContents contents{
        .memory_bytes = bytes, .base = base, .older = nullptr, .runs = runs, .pages = buffer.bytes()};
    const auto remove = [](const std::filesystem::path& path) { return [path] { std::filesystem::remove(path); }; };
    measure(
        "write a layer", [&] { must(write_memory_layer(layer_file, contents, false)); }, remove(layer_file));
    must(write_memory_layer(older_file, contents, false));
    const auto older = must(open_memory_layer(older_file));
    measure("open it", [&] { must(open_memory_layer(older_file)); });
    measure("verify its pages", [&] { must(verify_pages(older)); });
    auto newer = contents;
    newer.older = &older;
    const auto half = std::span(runs).first(runs.size() / 2);
    newer.runs = half;
    newer.pages = newer.pages.first(count_pages(half) * page_bytes);
    measure(
        "write a layer over it, half of it new", [&] { must(write_memory_layer(layer_file, newer, false)); },
        remove(layer_file));
    measure(
        "write a memory file", [&] { must(write_memory_file(flat_file, contents, false)); }, remove(flat_file));
    must(write_memory_file(flat_file, newer, false));
    measure("sum it", [&] { must(checksum_of_file(flat_file)); });
    for (const auto& path : {flat_file, older_file}) std::filesystem::remove(path);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
  std::filesystem::remove(base);
}
