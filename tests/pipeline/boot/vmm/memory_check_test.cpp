#include "pipeline/boot/vmm/memory_check.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "config/child_process.hpp"
#include "pipeline/boot/vmm/preload/private_memory.hpp"

using namespace nanobox;
using namespace std::chrono_literals;
using Catch::Matchers::Contains;

namespace {

constexpr std::uint64_t mib = 1U << 20;

}  // namespace

TEST_CASE("a line of a process' maps is read", "[memory]") {
  const auto range =
      parse_mapped_range("7f0000000000-7f0000100000 rw-s 00000000 08:01 4711                       /mem a b");
  REQUIRE(range);
  CHECK(range->end - range->begin == mib);
  CHECK(range->readable);
  CHECK(range->writable);
  CHECK_FALSE(range->is_private);
  CHECK(range->inode == 4711);
  CHECK(range->path == "/mem a b");
  CHECK(parse_mapped_range("7f0000000000-7f0000001000 ---p 00000000 00:00 0")->path.empty());
  for (const auto* wrong : {"", "x", "1-2", "2-1 rw-p 0 0 0", "1-2 rw 0 0 0", "1-2 rw-p 0 0 x"})
    CHECK_FALSE(parse_mapped_range(wrong));
}

TEST_CASE("shared guest memory is found, private one is not held against a VMM", "[memory]") {
  const std::string code = "400000-401000 r-xp 00000000 08:01 7 /vmm/vmm\n";
  CHECK(find_shared_memory(code + "10000000-10100000 rw-p 00000000 00:00 0 \n", 4711, mib).empty());
  // In runs: data of the file between anonymous holes.
  CHECK(find_shared_memory(code + "10000000-10001000 rw-p 00000000 00:00 0 \n"
                                  "10001000-10080000 rw-p 00001000 08:01 4711 /mem\n"
                                  "10080000-10100000 rw-p 00000000 00:00 0 \n",
                           4711, mib)
            .empty());
  CHECK_THAT(find_shared_memory(code + "10000000-10100000 rw-s 00000000 08:01 4711 /mem\n", 4711, mib),
             Contains("mapped shared"));
  // The file under another number (an overlay's), told by its size.
  CHECK_THAT(find_shared_memory(code + "10000000-10100000 rw-s 00000000 08:01 99 /mem\n", 4711, mib),
             Contains("mapped shared"));
  CHECK_THAT(find_shared_memory(code + "10000000-10100000 r--p 00000000 00:00 0 \n", 4711, mib),
             Contains("no private"));
  CHECK_THAT(find_shared_memory(code, 4711, mib), Contains("no private"));
  CHECK_THAT(find_shared_memory("garbage\n", 4711, mib), Contains("cannot be read"));
}

TEST_CASE("a process without the preload does not pass the check", "[memory]") {
  std::string path = "/tmp/nbmem-XXXXXX";
  const UniqueFd file(mkostemp(path.data(), O_CLOEXEC));
  REQUIRE(ftruncate(file.get(), 4 * mib) == 0);
  const auto checked = check_private_memory(getpid(), path, 4 * mib);
  REQUIRE_FALSE(checked);
  CHECK(checked.error().code == ErrorCode::vmm_failed);
  unlink(path.c_str());
}

TEST_CASE("the preload makes a shared writable mapping of its file private, and only that", "[memory]") {
  std::string folder = "/tmp/nbpre-XXXXXX";
  REQUIRE(mkdtemp(folder.data()) != nullptr);
  const auto object = private_memory_object();
  std::ofstream(folder + "/pre.so", std::ios::binary)
      .write(reinterpret_cast<const char*>(object.data()), static_cast<std::streamsize>(object.size()));
  // dd conv=notrunc opens for writing; python maps shared: both on the file that is guarded and on another.
  std::ofstream(folder + "/mem") << std::string(8192, 'a') << std::string(8192, 'b');
  std::ofstream(folder + "/other") << std::string(16384, 'a');
  const std::string program =
      "import mmap, os, sys\n"
      "def scribble(path):\n"
      "  fd = os.open(path, os.O_RDWR)\n"
      "  try: os.pwrite(fd, b'X', 0); print('written')\n"
      "  except OSError: print('read-only')\n"
      "  m = mmap.mmap(fd, 16384, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)\n"
      "  print(m[8191:8193]); m[4096:4099] = b'new'; print(m[4096:4099]); m.close()\n"
      "scribble('" +
      folder + "/mem'); scribble('" + folder + "/other')\n";
  const auto run =
      run_command({.program = "python3",
                   .arguments = {"-c", program},
                   .env = {{"LD_PRELOAD=" + folder + "/pre.so", "NANOBOX_PRIVATE_MEMORY=" + folder + "/mem"}},
                   .descriptors = {}},
                  30s);
  REQUIRE(run);
  INFO(run->err);
  CHECK(run->out == "read-only\nb'ab'\nb'new'\nwritten\nb'aa'\nb'new'\n");
  const auto content = [&](const std::string& name) {
    std::ifstream file(folder + name);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  CHECK(content("/mem") == std::string(8192, 'a') + std::string(8192, 'b'));
  CHECK(content("/other").substr(0, 1) == "X");
  CHECK(content("/other").substr(4096, 3) == "new");

  const auto without = run_command({.program = "python3",
                                    .arguments = {"-c", "print('ran')"},
                                    .env = {{"LD_PRELOAD=" + folder + "/pre.so"}},
                                    .descriptors = {}},
                                   30s);
  REQUIRE(without);
  CHECK(without->exit.exit_code == 125);
  CHECK(without->out.empty());
  std::filesystem::remove_all(folder);
}
