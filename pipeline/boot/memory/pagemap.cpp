#include "pipeline/boot/memory/pagemap.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "config/unique_fd.hpp"

namespace nanobox {

namespace {

// linux/fs.h of Linux 6.7; Debian 12's has none of it.
struct ScannedRegion {
  std::uint64_t start, end, categories;
};
struct ScanArguments {
  std::uint64_t size, flags, start, end, walk_end, regions, regions_size, max_pages, category_inverted, category_mask,
      category_any_of, return_mask;
};
constexpr unsigned long scan_request = _IOWR('f', 16, ScanArguments);
constexpr std::uint64_t is_file = 1U << 2, is_present = 1U << 3, is_swapped = 1U << 4, is_zero_frame = 1U << 5;

constexpr std::uint64_t present_bit = std::uint64_t{1} << 63, swapped_bit = std::uint64_t{1} << 62,
                        file_bit = std::uint64_t{1} << 61, frame_mask = (std::uint64_t{1} << 55) - 1;

Error failure(int number) {
  return errno_error(number, "look for the guest's pages", "pagemap", ErrorCode::vmm_failed);
}

/// The frame of the page of zeros; 0 where this process may not know it.
std::uint64_t zero_frame() {
  void* page = ::mmap(nullptr, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return 0;
  (void)*static_cast<volatile const char*>(page);
  std::uint64_t entry = 0;
  const UniqueFd own(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  const auto place = static_cast<off_t>(reinterpret_cast<std::uintptr_t>(page) / page_bytes * sizeof entry);
  if (!own || ::pread(own.get(), &entry, sizeof entry, place) != sizeof entry) entry = 0;
  ::munmap(page, page_bytes);
  return (entry & present_bit) != 0 ? entry & frame_mask : 0;
}

}  // namespace

Result<std::vector<PageRun>> scan_own_pages(int pagemap, std::uint64_t begin, std::uint64_t bytes) {
  std::vector<PageRun> runs;
  std::array<ScannedRegion, 512> regions{};
  ScanArguments arguments{};
  arguments.size = sizeof arguments;
  arguments.end = begin + bytes;
  arguments.regions = reinterpret_cast<std::uintptr_t>(regions.data());
  arguments.regions_size = regions.size();
  arguments.category_inverted = arguments.category_mask = is_file | is_zero_frame;
  arguments.category_any_of = is_present | is_swapped;
  arguments.return_mask = is_file;  // never set in what is found, so that neighbours are one region
  for (auto at = begin; at < begin + bytes; at = arguments.walk_end) {
    arguments.start = at;
    arguments.walk_end = 0;
    const int count = ::ioctl(pagemap, scan_request, &arguments);
    if (count < 0 && errno == EINTR && arguments.walk_end == 0) arguments.walk_end = at;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == ENOTTY || errno == EINVAL))
      return fail({.code = ErrorCode::host_unsuitable,
                   .attempted = "look for the guest's pages",
                   .subject = "pagemap",
                   .reason = "this kernel has no PAGEMAP_SCAN",
                   .mend = ""});
    if (count < 0) return fail(failure(errno));
    if (arguments.walk_end <= at) return fail(failure(EIO));
    for (int i = 0; i < count; ++i)
      append_run(runs, {(regions[i].start - begin) / page_bytes, (regions[i].end - regions[i].start) / page_bytes});
  }
  return runs;
}

Result<std::vector<PageRun>> read_own_pages(int pagemap, std::uint64_t begin, std::uint64_t bytes) {
  const auto zero = zero_frame();
  std::vector<PageRun> runs;
  std::vector<std::uint64_t> entries(32768);
  const auto pages = bytes / page_bytes;
  for (std::uint64_t page = 0; page < pages;) {
    const auto wanted = std::min<std::uint64_t>(entries.size(), pages - page) * sizeof(std::uint64_t);
    const auto got = ::pread(pagemap, entries.data(), wanted,
                             static_cast<off_t>((begin / page_bytes + page) * sizeof(std::uint64_t)));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(failure(errno));
    const auto count = static_cast<std::uint64_t>(got) / sizeof(std::uint64_t);
    if (count == 0) return fail(failure(ESRCH));  // the process has ended
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto entry = entries[i];
      const bool is_own =
          (entry & present_bit) != 0 && (entry & file_bit) == 0 && (zero == 0 || (entry & frame_mask) != zero);
      if (is_own || (entry & swapped_bit) != 0) append_run(runs, {page + i, 1});
    }
    page += count;
  }
  return runs;
}

}  // namespace nanobox
