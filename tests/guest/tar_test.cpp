#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

#include "config/child_process.hpp"

extern "C" {
#include "guest/init/tar.h"
#include "guest/protocol.h"
}

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using nanobox::run_command;

namespace {

struct Folder {
  fs::path path;
  Folder() {
    std::string name = "/tmp/nbtar-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { fs::remove_all(path); }
};

std::string shell(const std::string& script) {
  auto output = run_command({.program = "/bin/sh", .arguments = {"-ec", script}, .env = {}, .descriptors = {}}, 60s);
  if (!output) throw std::runtime_error(describe(output.error()));
  if (!output->exit.succeeded()) throw std::runtime_error(script + ": " + output->err);
  return output->out;
}

/// Type, mode, owner, size, time, name and target of all that is in it, and what the files hold.
std::string described(const fs::path& folder) {
  return shell("cd '" + folder.string() +
               "'; find . -mindepth 1 ! -type d -printf '%y %m %U %G %s %Ts %n %p -> %l\\n' | LC_ALL=C sort;"
               "find . -mindepth 1 -type d -printf '%y %m %U %G %Ts %p\\n' | LC_ALL=C sort;"
               "find . -type f -exec cksum {} + | LC_ALL=C sort");
}

std::optional<tar_problem> pack(const fs::path& folder, const fs::path& archive) {
  tar_problem problem{};
  const int from = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY);
  const int to = ::open(archive.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (tar_pack(from, to, &problem)) return std::nullopt;
  return problem;
}

std::optional<tar_problem> unpack(const fs::path& archive, const fs::path& folder, bool made = false) {
  tar_problem problem{};
  const int from = ::open(archive.c_str(), O_RDONLY);
  const bool unpacked = tar_unpack(::open(folder.c_str(), O_RDONLY | O_DIRECTORY), from, made, &problem);
  ::close(from);
  if (unpacked) return std::nullopt;
  return problem;
}

/// A folder with one of each kind.
void fill(const fs::path& folder) {
  shell("cd '" + folder.string() +
        "'; mkdir -p sub/deep 'odd name'; echo hello >sub/file; chmod 4751 sub/file; ln sub/file sub/deep/linked;"
        "ln -s ../sub/file 'odd name/link'; ln -s /nowhere dangling; mkfifo -m 620 pipe; head -c 100000 /dev/urandom "
        ">big;"
        ": >empty; printf x >\"$(printf 'new\\nline \\377')\"; n=$(printf '%0200d' 7); mkdir -p $n/$n; echo long "
        ">$n/$n/$n;"
        "ln -s $n/$n/$n longlink; touch -d '2001-02-03 04:05:06' sub/file big; touch -d '1960-01-01' empty;"
        "if [ $(id -u) = 0 ]; then chown 12345:3000000 big; chown -h 7:8 dangling; fi; chmod 1751 sub;"
        "touch -d '2010-01-01' sub/deep sub");
}

/// Entries as they are written, one after the other.
class Archive {
public:
  Archive& add(tar_entry entry, const std::string& data = "") {
    entry.size = data.size();
    std::vector<std::uint8_t> header(TAR_HEADER_MAX);
    const auto size = tar_header(&entry, header.data());
    bytes_.append(reinterpret_cast<const char*>(header.data()), size);
    bytes_ += data;
    bytes_.resize((bytes_.size() + 511) / 512 * 512);
    return *this;
  }
  Archive& add(char type, const std::string& name, const std::string& link = "", const std::string& data = "") {
    auto entry = std::make_unique<tar_entry>();
    entry->type = type;
    entry->mode = type == TAR_FOLDER ? 0755 : 0644;
    entry->uid = ::geteuid();
    entry->gid = ::getegid();
    name.copy(entry->name, TAR_NAME_MAX);
    link.copy(entry->link, TAR_NAME_MAX);
    return add(*entry, data);
  }
  std::string& bytes() { return bytes_; }
  fs::path write(const fs::path& path, bool ended = true) const {
    std::ofstream(path, std::ios::binary) << bytes_ << std::string(ended ? 1024 : 0, '\0');
    return path;
  }

private:
  std::string bytes_;
};

}  // namespace

TEST_CASE("what is packed is unpacked as it was", "[guest][tar]") {
  Folder all;
  fs::create_directories(all.path / "from");
  fs::create_directories(all.path / "to");
  fill(all.path / "from");
  REQUIRE_FALSE(pack(all.path / "from", all.path / "archive"));
  const auto before = described(all.path / "from");
  SECTION("by us") {
    REQUIRE_FALSE(unpack(all.path / "archive", all.path / "to"));
    CHECK(described(all.path / "to") == before);
    SECTION("over what is there") {
      REQUIRE_FALSE(unpack(all.path / "archive", all.path / "to"));
      CHECK(described(all.path / "to") == before);
    }
  }
  SECTION("by the system's tar") {
    shell("tar -xpf '" + (all.path / "archive").string() + "' -C '" + (all.path / "to").string() + "'");
    CHECK(described(all.path / "to") == before);
  }
}

TEST_CASE("what the system's tar packs is unpacked as it was", "[guest][tar]") {
  const std::string format = GENERATE("gnu", "pax", "oldgnu");
  Folder all;
  fs::create_directories(all.path / "from");
  fs::create_directories(all.path / "to");
  fill(all.path / "from");
  shell("cd '" + (all.path / "from").string() + "'; tar --format=" + format + " -cf ../archive .");

  REQUIRE_FALSE(unpack(all.path / "archive", all.path / "to"));

  CHECK(described(all.path / "to") == described(all.path / "from"));
}

TEST_CASE("sizes beyond 8 GiB and large owners are told in both forms", "[guest][tar]") {
  auto entry = std::make_unique<tar_entry>();
  entry->type = TAR_FILE;
  entry->size = std::uint64_t{9} << 30;
  entry->uid = 4'000'000'000;
  entry->mtime = -5;
  std::strcpy(entry->name, "huge");
  std::vector<std::uint8_t> bytes(TAR_HEADER_MAX);
  bytes.resize(tar_header(entry.get(), bytes.data()));
  if (GENERATE(false, true)) {
    // GNU's: binary in the header itself, no extended one.
    bytes.assign(bytes.end() - 512, bytes.end());
    const auto put = [&](std::size_t at, std::size_t size, std::int64_t value) {
      for (std::size_t i = size; i-- > 0; value >>= 8) bytes[at + i] = static_cast<std::uint8_t>(value);
      bytes[at] = static_cast<std::uint8_t>(value < 0 ? 0xFF : 0x80);
    };
    put(108, 8, entry->uid);
    put(124, 12, static_cast<std::int64_t>(entry->size));
    put(136, 12, entry->mtime);
    std::memset(bytes.data() + 148, ' ', 8);
    unsigned sum = 0;
    for (const auto byte : bytes) sum += byte;
    std::snprintf(reinterpret_cast<char*>(bytes.data()) + 148, 8, "%06o", sum);
  }
  struct Source {
    const std::vector<std::uint8_t>& bytes;
    std::size_t at = 0;
  } source{bytes};
  tar_reader reader{};
  reader.context = &source;
  reader.read = [](void* context, std::uint8_t* to, std::size_t size) {
    auto& from = *static_cast<Source*>(context);
    size = std::min(size, from.bytes.size() - from.at);
    std::memcpy(to, from.bytes.data() + from.at, size);
    from.at += size;
    return size;
  };
  auto read = std::make_unique<tar_entry>();
  tar_problem problem{};
  REQUIRE(tar_next(&reader, read.get(), &problem) == 1);
  CHECK(read->size == entry->size);
  CHECK(read->uid == entry->uid);
  CHECK(read->mtime == -5);
}

TEST_CASE("an entry that leads out of the folder is refused", "[guest][tar]") {
  Folder all;
  const auto to = all.path / "to";
  fs::create_directories(to);
  fs::create_directories(all.path / "away");
  std::ofstream(all.path / "away/secret") << "secret";
  Archive archive;
  const auto outcome = [&] {
    const auto problem = unpack(archive.write(all.path / "archive"), to);
    REQUIRE(problem);
    CHECK(problem->reason == NANOBOX_REASON_ARCHIVE);
    CHECK(fs::exists(all.path / "away/secret"));
    CHECK(std::distance(fs::directory_iterator(all.path / "away"), {}) == 1);
  };
  SECTION("by an absolute name") {
    archive.add(TAR_FILE, (all.path / "away/new").string(), "", "x");
    outcome();
  }
  SECTION("by a name that goes up") {
    archive.add(TAR_FILE, "sub/../../away/new", "", "x");
    outcome();
  }
  SECTION("through a link that goes up") {
    archive.add(TAR_SYMLINK, "link", "../away").add(TAR_FILE, "link/new", "", "x");
    outcome();
  }
  SECTION("through an absolute link") {
    archive.add(TAR_SYMLINK, "link", (all.path / "away").string()).add(TAR_FILE, "link/new", "", "x");
    outcome();
  }
  SECTION("through links in links") {
    archive.add(TAR_FOLDER, "a").add(TAR_SYMLINK, "a/up", "..").add(TAR_SYMLINK, "b", "a/up/../away");
    archive.add(TAR_FILE, "b/new", "", "x");
    outcome();
  }
  SECTION("with a folder over a link") {
    archive.add(TAR_SYMLINK, "link", "../away").add(TAR_FOLDER, "link").add(TAR_FILE, "link/new", "", "x");
    outcome();
  }
  SECTION("by a hard link's target") {
    archive.add(TAR_HARD_LINK, "linked", "../away/secret");
    outcome();
  }
  SECTION("by a hard link's target through a link") {
    archive.add(TAR_SYMLINK, "link", "../away").add(TAR_HARD_LINK, "linked", "link/secret");
    outcome();
  }
}

TEST_CASE("links that stay in the folder are gone through", "[guest][tar]") {
  Folder all;
  fs::create_directories(all.path / "to/usr/lib");
  fs::create_directory_symlink("usr/lib", all.path / "to/lib");
  Archive archive;
  archive.add(TAR_FOLDER, "lib/").add(TAR_FILE, "lib/file", "", "in usr");
  REQUIRE_FALSE(unpack(archive.write(all.path / "archive"), all.path / "to"));
  CHECK(fs::is_symlink(all.path / "to/lib"));
  CHECK(fs::file_size(all.path / "to/usr/lib/file") == 6);
}

TEST_CASE("a link is replaced by a file, not followed", "[guest][tar]") {
  Folder all;
  fs::create_directories(all.path / "to");
  std::ofstream(all.path / "to/target") << "old";
  fs::create_symlink("target", all.path / "to/file");
  Archive archive;
  archive.add(TAR_FILE, "file", "", "new one");
  REQUIRE_FALSE(unpack(archive.write(all.path / "archive"), all.path / "to"));
  CHECK_FALSE(fs::is_symlink(all.path / "to/file"));
  CHECK(fs::file_size(all.path / "to/target") == 3);
}

TEST_CASE("the folder itself is changed only where it is new", "[guest][tar]") {
  Folder all;
  fs::create_directories(all.path / "to");
  fs::permissions(all.path / "to", fs::perms(0700));
  Archive archive;
  archive.add(TAR_FOLDER, "./").add(TAR_FILE, "./file", "", "x");
  const bool made = GENERATE(false, true);
  REQUIRE_FALSE(unpack(archive.write(all.path / "archive"), all.path / "to", made));
  CHECK(fs::status(all.path / "to").permissions() == fs::perms(made ? 0755 : 0700));
}

TEST_CASE("a broken archive is refused and leaves no half file", "[guest][tar]") {
  Folder all;
  const auto to = all.path / "to";
  fs::create_directories(to);
  Archive archive;
  archive.add(TAR_FILE, "whole", "", "whole").add(TAR_FILE, "half", "", std::string(5000, 'x'));
  std::string reason;
  bool ended = true;
  SECTION("cut off in data") {
    archive.bytes().resize(archive.bytes().size() - 2000);
    ended = false;
    reason = "half: the archive is cut off in the middle of it";
  }
  SECTION("cut off in a header") {
    archive.bytes().resize(1024 + 100);
    ended = false;
    reason = "it is cut off";
  }
  SECTION("a damaged header") {
    archive.bytes()[1024 + 3] ^= 1;
    reason = "it holds a header with a wrong checksum";
  }
  SECTION("something else altogether") {
    archive.bytes().assign(5000, 'P');
    reason = "it is no tar archive";
  }
  SECTION("nothing") {
    archive.bytes().clear();
    ended = false;
    reason = "it is no tar archive";
  }
  const auto problem = unpack(archive.write(all.path / "archive", ended), to);
  REQUIRE(problem);
  CHECK(problem->reason == NANOBOX_REASON_ARCHIVE);
  CHECK(problem->text == reason);
  for (const auto& entry : fs::directory_iterator(to)) CHECK(entry.path().filename() == "whole");
}

TEST_CASE("an empty archive is one", "[guest][tar]") {
  Folder all;
  fs::create_directories(all.path / "to");
  CHECK_FALSE(unpack(Archive().write(all.path / "archive"), all.path / "to"));
}
