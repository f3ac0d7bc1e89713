#include "pipeline/boot/vmm/vmm_pin.hpp"

#include <stdlib.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "config/child_process.hpp"

using namespace nanobox;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

class Folder {
public:
  Folder() {
    std::string path = "/tmp/nbpin-XXXXXX";
    if (mkdtemp(path.data()) != nullptr) path_ = path;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

private:
  fs::path path_;
};

}  // namespace

TEST_CASE("a pinned VMM runs from its own loader and libraries, and is pinned once", "[pin]") {
  const Folder data;
  const auto binary = find_vmm("qemu-system-x86_64");
  REQUIRE(binary);
  const auto pinned = pin_qemu(*binary, data.path());
  REQUIRE(pinned);
  CHECK(pinned->digest.size() == 64);
  CHECK(pinned->folder == data.path() / "vmm" / pinned->digest);
  CHECK(fs::is_empty(data.path() / "vmm/.tmp"));
  for (const auto* part : {"vmm", "ld.so", "lib/libc.so.6", "firmware/qboot.rom", "private_memory.so", "sources"})
    CHECK(fs::exists(pinned->folder / part));
  const auto run =
      run_command({.program = pinned->folder / "ld.so",
                   .arguments = {"--library-path", pinned->folder / "lib", pinned->folder / "vmm", "--version"},
                   .env = {{}},
                   .descriptors = {}},
                  30s);
  REQUIRE(run);
  CHECK(run->out.starts_with("QEMU emulator version"));

  const auto written = fs::last_write_time(pinned->folder / "sources");
  const auto again = pin_qemu(*binary, data.path());
  REQUIRE(again);
  CHECK(again->digest == pinned->digest);
  CHECK(fs::last_write_time(pinned->folder / "sources") == written);
}

TEST_CASE("sources that look changed are read again; equal content stays one VMM", "[pin]") {
  const Folder data;
  const auto binary = *find_vmm("qemu-system-x86_64");
  const auto first = pin_qemu(binary, data.path());
  REQUIRE(first);
  fs::permissions(first->folder / "sources", fs::perms::owner_all);
  std::ofstream(first->folder / "sources") << "private_memory.so other\nvmm 1 1.1 1 " << binary.string() << "\n";
  const auto second = pin_qemu(binary, data.path());
  REQUIRE(second);
  CHECK(second->digest == first->digest);
  CHECK(fs::file_size(second->folder / "sources") > 1000);
}

TEST_CASE("a program that is no VMM is refused, and no half of it is left", "[pin]") {
  const Folder data;
  std::ofstream(data.path() / "script") << "#!/bin/sh\n";
  const auto script = pin_qemu(data.path() / "script", data.path());
  REQUIRE_FALSE(script);
  CHECK(script.error().code == ErrorCode::vmm_missing);
  CHECK(script.error().subject == data.path() / "script");
  const auto other = pin_qemu("/bin/true", data.path());
  if (other) CHECK(fs::is_empty(data.path() / "vmm/.tmp"));
}
