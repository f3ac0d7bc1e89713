#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>

#include "tests/tools/client/client_fixture.hpp"
#include "tools/nanobox/tar_stream.hpp"
#include "tools/nanobox/whole_file.hpp"

using namespace nanobox;
using namespace nanobox::cli;
namespace fs = std::filesystem;

namespace {

class TarFixture {
public:
  TarFixture() {
    std::string name = fs::temp_directory_path() / "nanobox-tar-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder_ = name;
    fs::create_directories(target());
    write_file(folder_ / "outside/secret", "untouched");
  }
  ~TarFixture() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  fs::path target() const { return folder_ / "target"; }
  fs::path outside() const { return folder_ / "outside"; }

  struct Entry {
    std::string name;
    unsigned type = AE_IFREG;
    std::string content = "";
    std::string link = "";
    bool hard = false;
    unsigned mode = 0644;
  };
  static std::string tar(const std::vector<Entry>& entries) {
    std::string bytes(1 << 20, '\0');
    std::size_t used = 0;
    archive* writer = archive_write_new();
    archive_write_set_format_pax_restricted(writer);
    archive_write_open_memory(writer, bytes.data(), bytes.size(), &used);
    for (const auto& wanted : entries) {
      archive_entry* entry = archive_entry_new();
      archive_entry_set_pathname(entry, wanted.name.c_str());
      archive_entry_set_filetype(entry, wanted.type);
      archive_entry_set_perm(entry, static_cast<mode_t>(wanted.mode));
      archive_entry_set_size(entry, static_cast<la_int64_t>(wanted.content.size()));
      if (!wanted.link.empty() && wanted.hard) archive_entry_set_hardlink(entry, wanted.link.c_str());
      if (!wanted.link.empty() && !wanted.hard) archive_entry_set_symlink(entry, wanted.link.c_str());
      REQUIRE(archive_write_header(writer, entry) == ARCHIVE_OK);
      archive_write_data(writer, wanted.content.data(), wanted.content.size());
      archive_entry_free(entry);
    }
    archive_write_close(writer);
    archive_write_free(writer);
    return bytes.substr(0, used);
  }
  /// The archive in pieces that end anywhere.
  static PullBytes pieces(std::string bytes, std::size_t size = 777) {
    return [bytes = std::move(bytes), size, at = std::size_t{0}]() mutable -> Result<std::string> {
      auto piece = at < bytes.size() ? bytes.substr(at, size) : std::string();
      at += piece.size();
      return piece;
    };
  }
  auto unpack(const std::vector<Entry>& entries) const { return unpack_tar(target(), pieces(tar(entries))); }
  /// Nothing outside of the target changed.
  void check_outside() const {
    CHECK(names_in(folder_) == std::vector<std::string>{"outside", "target"});
    CHECK(names_in(outside()) == std::vector<std::string>{"secret"});
    CHECK(content_of(outside() / "secret") == "untouched");
  }

private:
  fs::path folder_;
};

}  // namespace

TEST_CASE_METHOD(TarFixture, "an archive that wants to go outside is refused", "[client][tar]") {
  const auto before = fs::current_path();
  const auto outside = this->outside().string();
  const std::vector<std::vector<Entry>> hostile = {
      {{.name = "../outside/secret", .content = "evil"}},
      {{.name = "a/../../outside/new", .content = "evil"}},
      {{.name = outside + "/new", .content = "evil"}},
      {{.name = "link", .type = AE_IFLNK, .link = outside}, {.name = "link/new", .content = "evil"}},
      {{.name = "link", .type = AE_IFLNK, .link = "../outside"}, {.name = "link/secret", .content = "evil"}},
      {{.name = "link", .type = AE_IFLNK, .link = outside},
       {.name = "link/", .type = AE_IFDIR},
       {.name = "link/new", .content = "evil"}},
      {{.name = "hard", .content = "evil", .link = "../outside/secret", .hard = true}},
      {{.name = "hard", .content = "evil", .link = outside + "/secret", .hard = true}},
      {{.name = "dir", .type = AE_IFLNK, .link = outside},
       {.name = "hard", .content = "evil", .link = "dir/secret", .hard = true}},
  };
  for (std::size_t at = 0; at < hostile.size(); ++at) {
    INFO("archive " << at);
    fs::remove_all(target());
    fs::create_directories(target());
    const auto unpacked = unpack(hostile[at]);
    if (!unpacked) CHECK(unpacked.error().code == ErrorCode::archive_invalid);
    check_outside();
    CHECK(fs::current_path() == before);
  }
}

TEST_CASE_METHOD(TarFixture, "a link that leads outside is kept as a link, and not followed by a file of its name",
                 "[client][tar]") {
  REQUIRE(unpack(
      {{.name = "link", .type = AE_IFLNK, .link = outside() / "secret"}, {.name = "link", .content = "a file now"}}));
  CHECK_FALSE(fs::is_symlink(target() / "link"));
  CHECK(content_of(target() / "link") == "a file now");
  check_outside();
}

TEST_CASE_METHOD(TarFixture, "devices, pipes and set-id bits stay where they are", "[client][tar]") {
  const auto left_out = unpack({{.name = "disk", .type = AE_IFBLK, .mode = 0666},
                                {.name = "null", .type = AE_IFCHR, .mode = 0666},
                                {.name = "pipe", .type = AE_IFIFO},
                                {.name = "root-shell", .content = "#!", .mode = 06755}});
  REQUIRE(left_out);
  CHECK(*left_out == std::vector<std::string>{"disk", "null", "pipe"});
  CHECK(names_in(target()) == std::vector<std::string>{"root-shell"});
  struct stat is {};
  REQUIRE(::stat((target() / "root-shell").c_str(), &is) == 0);
  CHECK((is.st_mode & 07777) == 0755);
}

TEST_CASE_METHOD(TarFixture, "a damaged archive is refused, whatever is cut or changed", "[client][tar]") {
  const auto whole = tar({{.name = "a", .content = std::string(2000, 'a')}, {.name = "b", .content = "b"}});
  CHECK(unpack_tar(target(), pieces("this is no archive at all" + std::string(2000, 'x'))).error().code ==
        ErrorCode::archive_invalid);
  CHECK(unpack_tar(target(), pieces(whole.substr(0, 1500))).error().code == ErrorCode::archive_invalid);
  auto changed = whole;
  changed[10] ^= 1;
  CHECK_FALSE(unpack_tar(target(), pieces(changed)));
}

TEST_CASE_METHOD(TarFixture, "a transfer that breaks is what is said", "[client][tar]") {
  const auto broken = unpack_tar(target(), []() -> Result<std::string> {
    return fail({.code = ErrorCode::cancelled, .attempted = "", .subject = "", .reason = "interrupted", .mend = ""});
  });
  CHECK(broken.error().code == ErrorCode::cancelled);
}

TEST_CASE_METHOD(TarFixture, "a folder packed and unpacked is the same", "[client][tar]") {
  const auto source = target() / "source", copy = target() / "copy";
  fs::create_directories(copy);
  write_file(source / "deep" / std::string(120, 'n') / std::string(120, 'm') / "file", "long");
  write_file(source / "na\xefve \xe2\x82\xac", "odd name");
  write_file(source / "empty", "");
  write_file(source / "big", std::string(300'000, 'b'));
  fs::create_hard_link(source / "big", source / "same");
  fs::create_symlink("nowhere/../at all", source / "link");
  fs::permissions(source / "deep", fs::perms::owner_read | fs::perms::owner_exec);

  std::string bytes;
  REQUIRE(pack_tar(source, [&](std::string_view piece) -> Result<void> {
    bytes += piece;
    return {};
  }));
  REQUIRE(unpack_tar(copy, pieces(bytes, 5000)));
  CHECK(names_in(copy) == names_in(source));
  CHECK(content_of(copy / "deep" / std::string(120, 'n') / std::string(120, 'm') / "file") == "long");
  CHECK(content_of(copy / "na\xefve \xe2\x82\xac") == "odd name");
  CHECK(content_of(copy / "same") == std::string(300'000, 'b'));
  CHECK(fs::hard_link_count(copy / "big") == 2);
  CHECK(fs::read_symlink(copy / "link") == "nowhere/../at all");
  CHECK(fs::status(copy / "deep").permissions() == (fs::perms::owner_read | fs::perms::owner_exec));
  CHECK(bytes_in(copy) == bytes_in(source));
}

TEST_CASE_METHOD(TarFixture, "folders are joined only where everything fits", "[client][tar]") {
  const auto from = target() / "from", into = target() / "into";
  write_file(from / "a/one", "1");
  write_file(from / "z", "Z");
  fs::create_directories(into);

  SECTION("a link in the way is not followed, and nothing has moved") {
    fs::create_directory_symlink(outside(), into / "a");
    const auto moved = move_into(from, into);
    CHECK(moved.error().code == ErrorCode::not_a_folder);
    CHECK(moved.error().subject == (into / "a").string());
    CHECK_FALSE(fs::exists(into / "z"));
    check_outside();
  }
  SECTION("a folder is not replaced by a file") {
    fs::create_directories(into / "z");
    CHECK(move_into(from, into).error().code == ErrorCode::file_is_folder);
    CHECK(names_in(into) == std::vector<std::string>{"z"});
  }
  SECTION("a link to a file is replaced, not written through") {
    fs::create_symlink(outside() / "secret", into / "z");
    REQUIRE(move_into(from, into));
    CHECK(content_of(into / "z") == "Z");
    check_outside();
  }
  SECTION("folders that nobody may write to move too") {
    fs::permissions(from / "a", fs::perms::owner_read | fs::perms::owner_exec);
    write_file(into / "a/two", "2");
    REQUIRE(move_into(from, into));
    CHECK(names_in(into / "a") == std::vector<std::string>{"one", "two"});
  }
}

TEST_CASE_METHOD(TarFixture, "a whole file replaces the old one, an unfinished one leaves it", "[client][tar]") {
  write_file(target() / "file", "old");
  {
    auto unfinished = WholeFile::create(target() / "file").value();
    REQUIRE(unfinished.write("half"));
  }
  CHECK(content_of(target() / "file") == "old");
  auto file = WholeFile::create(target() / "file").value();
  REQUIRE(file.write("new"));
  REQUIRE(file.commit(07751, timespec{.tv_sec = 1'000'000, .tv_nsec = 0}));
  CHECK(content_of(target() / "file") == "new");
  CHECK(names_in(target()) == std::vector<std::string>{"file"});
  struct stat is {};
  REQUIRE(::stat((target() / "file").c_str(), &is) == 0);
  CHECK((is.st_mode & 07777) == 0751);
  CHECK(is.st_mtime == 1'000'000);
}
