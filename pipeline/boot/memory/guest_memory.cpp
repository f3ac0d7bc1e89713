#include "pipeline/boot/memory/guest_memory.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <system_error>
#include <thread>

#include "pipeline/boot/memory/mapped_ranges.hpp"
#include "pipeline/boot/memory/pagemap.hpp"

namespace nanobox {

namespace {

constexpr std::size_t vector_most = 1024;  // IOV_MAX
constexpr std::uint64_t call_most_bytes = 1U << 30;
constexpr std::uint64_t two_threads_from_bytes = 2U << 20;

std::string process_name(pid_t vmm) {
  return "process " + std::to_string(vmm);
}

/// Copies runs of pages from another process. @returns 0 or errno
int copy_pages(pid_t process, std::uint64_t address, std::span<const PageRun> runs, std::span<std::byte> into) {
  std::array<iovec, vector_most> remote{};
  std::uint64_t skipped_bytes = 0;  // of the first run
  while (!runs.empty()) {
    std::size_t count = 0;
    std::uint64_t wanted = 0;
    for (; count < runs.size() && count < remote.size() && wanted < call_most_bytes; ++count) {
      const auto skip = count == 0 ? skipped_bytes : 0;
      const auto length = std::min(runs[count].count * page_bytes - skip, call_most_bytes);
      remote[count] = {reinterpret_cast<void*>(address + runs[count].first * page_bytes + skip), length};
      wanted += length;
    }
    const iovec local{into.data(), wanted};
    const auto got = ::process_vm_readv(process, &local, 1, remote.data(), count, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) return EFAULT;
    into = into.subspan(static_cast<std::size_t>(got));
    skipped_bytes += static_cast<std::uint64_t>(got);
    while (!runs.empty() && skipped_bytes >= runs.front().count * page_bytes) {
      skipped_bytes -= runs.front().count * page_bytes;
      runs = runs.subspan(1);
    }
  }
  return 0;
}

}  // namespace

Result<GuestMemory> GuestMemory::open(pid_t vmm, const std::filesystem::path& memory_file, std::uint64_t memory_bytes) {
  struct stat file {};
  if (::stat(memory_file.c_str(), &file) != 0) return fail(errno_error(errno, "look at", memory_file));
  const std::filesystem::path proc = "/proc/" + std::to_string(vmm);
  UniqueFd pagemap(::open((proc / "pagemap").c_str(), O_RDONLY | O_CLOEXEC));
  std::ifstream maps_file(proc / "maps");
  if (!pagemap || !maps_file)
    return fail(errno_error(errno, "find the guest's memory", process_name(vmm), ErrorCode::vmm_failed));
  std::ostringstream text;
  text << maps_file.rdbuf();
  const auto maps = std::move(text).str();
  const auto ranges = NANOBOX_TRY(parse_mapped_ranges(maps));
  auto address = find_guest_memory(ranges, file.st_ino, memory_bytes);
  if (!address) {
    auto error = std::move(address).error();
    error.subject = process_name(vmm);
    return fail(std::move(error));
  }
  return GuestMemory(vmm, std::move(pagemap), *address, memory_bytes);
}

Result<std::vector<PageRun>> GuestMemory::dirty_pages() const {
  auto runs = scan_own_pages(pagemap_.get(), address_, memory_bytes_);
  if (!runs && runs.error().code == ErrorCode::host_unsuitable)
    runs = read_own_pages(pagemap_.get(), address_, memory_bytes_);
  return runs;
}

Result<void> GuestMemory::read(std::span<const PageRun> runs, PageBuffer& buffer) const {
  if (!are_in_order(runs, memory_bytes_ / page_bytes))
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "read the guest's memory",
                 .subject = process_name(vmm_),
                 .reason = "the runs are out of order or bounds",
                 .mend = ""});
  const auto bytes = count_pages(runs) * page_bytes;
  NANOBOX_TRY(buffer.resize(bytes));
  const auto into = buffer.bytes();

  // The second thread's half, cut where the bytes are, not the runs.
  std::vector<PageRun> first_half, second_half;
  std::uint64_t first_pages = bytes / page_bytes;
  if (bytes >= two_threads_from_bytes && std::thread::hardware_concurrency() > 1) first_pages /= 2;
  auto left = first_pages;
  for (const auto& run : runs) {
    const auto here = std::min(left, run.count);
    if (here > 0) first_half.push_back({run.first, here});
    if (here < run.count) second_half.push_back({run.first + here, run.count - here});
    left -= here;
  }
  int second_error = 0;
  const auto copy_second = [&] {
    second_error = copy_pages(vmm_, address_, second_half, into.subspan(first_pages * page_bytes));
  };
  std::thread second;
  if (!second_half.empty()) {
    try {
      second = std::thread(copy_second);
    } catch (const std::system_error&) {
      copy_second();  // no thread to be had
    }
  }
  const int first_error = copy_pages(vmm_, address_, first_half, into.first(first_pages * page_bytes));
  if (second.joinable()) second.join();
  if (const int number = first_error != 0 ? first_error : second_error; number != 0)
    return fail(errno_error(number, "read the guest's memory", process_name(vmm_), ErrorCode::vmm_failed));
  return {};
}

}  // namespace nanobox
