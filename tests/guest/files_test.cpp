#include <catch2/catch.hpp>
#include <cerrno>

#include "guest/protocol.h"
#include "pipeline/boot/channel/refusal.hpp"
#include "tests/guest/ready_guest.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

/// Bytes of every value, of which no piece is like another.
std::string varied_bytes(std::size_t size) {
  std::string bytes(size, '\0');
  std::uint32_t state = 12345;
  for (auto& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<char>(state >> 24);
  }
  return bytes;
}

StreamOutcome write(GuestMachine& guest, const FileWriteRequest& request, std::string_view bytes) {
  const auto stream = guest.session().open_file_write(request);
  if (!stream) throw std::runtime_error(describe(stream.error()));
  guest.send(*stream, bytes);
  if (!guest.session().write_stdin(*stream, "", true)) throw std::runtime_error("stdin is full");
  return guest.finish(*stream);
}

StreamOutcome read(GuestMachine& guest, const FileReadRequest& request) {
  return guest.finish(guest.session().open_file_read(request));
}

/// What a caller of the API would be told.
ErrorCode code_of(const StreamOutcome& outcome) {
  if (!outcome.error) throw std::runtime_error("it did not fail");
  return refusal_of(*outcome.error, "reach", "a file").code;
}

std::map<std::string, FileInfo> list(GuestMachine& guest, const std::string& path) {
  const auto listed = guest.finish(guest.session().open_file_list({.path = path}));
  REQUIRE(listed.exit);
  RecordReader reader;
  reader.feed(std::as_bytes(std::span(listed.out)));
  std::map<std::string, FileInfo> files;
  while (const auto record = *reader.next()) {
    auto entry = *read_file_entry(*record);
    files.emplace(entry.name, entry.info);
  }
  REQUIRE(reader.finish());
  return files;
}

const std::string no_half_files = "find / -xdev -name '.nanobox-*' | wc -l";

}  // namespace

TEST_CASE("a file comes back as it was written", "[guest][files]") {
  auto& guest = shared_guest();
  const auto bytes = varied_bytes((1U << 20) + 4711);

  const auto written = write(guest, {.path = "/tmp/made/on the way/file", .mode = 0640}, bytes);

  REQUIRE(written.exit);
  const auto whole = read(guest, {.path = "/tmp/made/on the way/file"});
  CHECK(whole.out == bytes);
  CHECK(whole.last);
  REQUIRE(whole.opened->file);
  CHECK(whole.opened->file->type == FileType::file);
  CHECK(whole.opened->file->size_bytes == bytes.size());
  CHECK(whole.opened->file->mode == 0640);
  const auto part = read(guest, {.path = "/tmp/made/on the way/file", .offset = 1000, .length = 70000});
  CHECK(part.out == bytes.substr(1000, 70000));
  CHECK(read(guest, {.path = "/tmp/made/on the way/file", .offset = bytes.size() + 5}).out.empty());
  CHECK(guest.shell("stat -c '%a %u' '/tmp/made/on the way'").out == "755 0\n");
  REQUIRE(write(guest, {.path = "/tmp/empty"}, "").exit);
  CHECK(guest.shell("stat -c '%s %a' /tmp/empty").out == "0 644\n");
  CHECK(read(guest, {.path = "/proc/version"}).out.starts_with("Linux version"));
}

TEST_CASE("who writes over a file keeps its mode and owner", "[guest][files]") {
  auto& guest = shared_guest();
  REQUIRE(guest.shell("echo old >/tmp/kept; chown worker:audio /tmp/kept; chmod 4750 /tmp/kept").exit);

  REQUIRE(write(guest, {.path = "/tmp/kept"}, "new").exit);

  CHECK(guest.shell("stat -c '%a %u %g' /tmp/kept; cat /tmp/kept").out == "4750 1000 29\nnew");
  REQUIRE(write(guest, {.path = "/tmp/kept", .mode = 0600}, "newer").exit);
  CHECK(guest.shell("stat -c %a /tmp/kept").out == "600\n");
}

TEST_CASE("a file is written where a link leads", "[guest][files]") {
  auto& guest = shared_guest();
  guest.shell("mkdir -p /tmp/l; echo old >/tmp/l/target; ln -sf target /tmp/l/link; ln -sf missing /tmp/l/dangling");

  REQUIRE(write(guest, {.path = "/tmp/l/link"}, "through").exit);
  REQUIRE(write(guest, {.path = "/tmp/l/dangling"}, "made").exit);

  CHECK(guest.shell("cat /tmp/l/target /tmp/l/missing; readlink /tmp/l/link").out == "throughmadetarget\n");
}

TEST_CASE("a file is what it was until all has come", "[guest][files]") {
  ReadyGuest guest;
  guest.shell("echo old >/data/file");
  const auto half = varied_bytes(300'000);
  const auto unfinished = guest.session().open_file_write({.path = "/data/file"});
  guest.send(*unfinished, half);
  CHECK(guest.shell("cat /data/file; " + no_half_files).out == "old\n1\n");

  SECTION("the host closes") {
    guest.session().close(*unfinished);
  }
  SECTION("the session is lost") {
    guest.drop_session();
    guest.open_session(true);
  }
  SECTION("the disk is full") {
    const auto outcome = write(guest, {.path = "/data/file"}, std::string(20 << 20, 'x'));
    CHECK(code_of(outcome) == ErrorCode::guest_disk_full);
    guest.session().close(*unfinished);
  }
  CHECK(guest.shell("while [ $(" + no_half_files + ") != 0 ]; do sleep 0.1; done; cat /data/file").out == "old\n");
}

TEST_CASE("files are described, links are not followed", "[guest][files]") {
  auto& guest = shared_guest();
  guest.shell(
      "mkdir -p /tmp/d/sub; cd /tmp/d; echo 12345 >file; ln -s ../away link; mkfifo pipe; mknod null c 1 3;"
      "mknod disk b 7 0; touch \"$(printf 'odd\\n\\377')\"; chmod 1751 sub; chown worker:audio file;"
      "touch -d '2001-02-03 04:05:06' file");

  const auto files = list(guest, "/tmp/d");

  CHECK(files.size() == 7);
  CHECK(files.at("file").type == FileType::file);
  CHECK(files.at("file").size_bytes == 6);
  CHECK(files.at("file").uid == 1000);
  CHECK(files.at("file").gid == 29);
  CHECK(files.at("file").mtime_ns == 981'173'106'000'000'000);
  CHECK(files.at("link").type == FileType::symlink);
  CHECK(files.at("link").target == "../away");
  CHECK(files.at("pipe").type == FileType::fifo);
  CHECK(files.at("null").type == FileType::char_device);
  CHECK(files.at("disk").type == FileType::block_device);
  CHECK(files.at("sub").type == FileType::folder);
  CHECK(files.at("sub").mode == 01751);
  CHECK(files.contains("odd\n\377"));
  const auto link = guest.finish(guest.session().open_file_stat({.path = "/tmp/d/link"}));
  REQUIRE(link.exit);
  CHECK(link.opened->file->type == FileType::symlink);
  CHECK(link.opened->file->target == "../away");
  CHECK(list(guest, "/tmp/d/sub").empty());
}

TEST_CASE("a folder of thousands is listed whole", "[guest][files]") {
  auto& guest = shared_guest();
  guest.shell("mkdir -p /run/many; cd /run/many; i=0; while [ $i -lt 3000 ]; do : >entry-number-$i; i=$((i+1)); done");
  CHECK(list(guest, "/run/many").size() == 3000);
  CHECK(guest.finish(guest.session().open_file_remove({.path = "/run/many", .recursive = true})).exit);
}

TEST_CASE("files are removed, renamed and folders made", "[guest][files]") {
  auto& guest = shared_guest();
  auto& session = guest.session();
  guest.shell(
      "mkdir -p /tmp/r/a/b /tmp/away; echo 1 >/tmp/r/a/b/f; echo 2 >/tmp/away/safe; ln -s /tmp/away /tmp/r/link");

  CHECK(code_of(guest.finish(session.open_file_remove({.path = "/tmp/r/a"}))) == ErrorCode::folder_not_empty);
  CHECK(guest.finish(session.open_file_rename({.path = "/tmp/r/a", .to = "/tmp/r/c"})).exit);
  CHECK(code_of(guest.finish(session.open_file_rename({.path = "/tmp/r/c", .to = "/tmp/r/x/y"}))) ==
        ErrorCode::file_not_found);
  CHECK(guest.finish(session.open_file_rename({.path = "/tmp/r/c", .to = "/tmp/r/x/y", .parents = true})).exit);
  CHECK(guest.shell("cat /tmp/r/x/y/b/f").out == "1\n");
  CHECK(guest.finish(session.open_folder_make({.path = "/tmp/r/n", .mode = 0711})).exit);
  CHECK(code_of(guest.finish(session.open_folder_make({.path = "/tmp/r/n"}))) == ErrorCode::file_exists);
  CHECK(code_of(guest.finish(session.open_folder_make({.path = "/tmp/r/o/p"}))) == ErrorCode::file_not_found);
  CHECK(guest.finish(session.open_folder_make({.path = "/tmp/r/o/p", .parents = true})).exit);
  CHECK(guest.finish(session.open_folder_make({.path = "/tmp/r/o/p", .parents = true})).exit);
  CHECK(guest.shell("stat -c %a /tmp/r/n /tmp/r/o/p").out == "711\n755\n");

  CHECK(guest.finish(session.open_file_remove({.path = "/tmp/r", .recursive = true})).exit);
  CHECK(guest.shell("ls /tmp/r 2>&1; cat /tmp/away/safe").out == "ls: /tmp/r: No such file or directory\n2\n");
  guest.shell("ln -s /tmp/away /tmp/away-link");
  CHECK(guest.finish(session.open_file_remove({.path = "/tmp/away-link/", .recursive = true})).exit);
  CHECK(guest.shell("cat /tmp/away/safe; ls -d /tmp/away-link 2>/dev/null").out == "2\n");
  CHECK(code_of(guest.finish(session.open_file_remove({.path = "/", .recursive = true}))) ==
        ErrorCode::file_permission);
  CHECK(code_of(guest.finish(session.open_file_remove({.path = "/nosuch"}))) == ErrorCode::file_not_found);
}

TEST_CASE("a file that cannot be had says why", "[guest][files]") {
  auto& guest = shared_guest();
  guest.shell(
      "mkfifo /tmp/fifo; ln -s loop /tmp/loop; echo secret >/root/secret; chmod 600 /root/secret; chmod 700 /root");

  CHECK(code_of(read(guest, {.path = "/nosuch"})) == ErrorCode::file_not_found);
  CHECK(code_of(read(guest, {.path = "/data"})) == ErrorCode::file_is_folder);
  CHECK(code_of(read(guest, {.path = "/etc/passwd/x"})) == ErrorCode::not_a_folder);
  CHECK(code_of(read(guest, {.path = "/tmp/fifo"})) == ErrorCode::not_a_file);
  CHECK(code_of(read(guest, {.path = "/dev/zero"})) == ErrorCode::not_a_file);
  CHECK(code_of(read(guest, {.path = "/tmp/loop"})) == ErrorCode::path_invalid);
  CHECK(code_of(read(guest, {.path = "/root/secret", .user = "worker"})) == ErrorCode::file_permission);
  CHECK(code_of(read(guest, {.path = "/etc/passwd", .user = "nosuch"})) == ErrorCode::user_not_found);
  CHECK(code_of(write(guest, {.path = "/data"}, "x")) == ErrorCode::file_is_folder);
  CHECK(code_of(write(guest, {.path = "/data/"}, "x")) == ErrorCode::file_is_folder);
  CHECK(code_of(write(guest, {.path = "/etc/passwd/x"}, "x")) == ErrorCode::not_a_folder);
  CHECK(code_of(write(guest, {.path = "/dev/null"}, "x")) == ErrorCode::not_a_file);
  CHECK(code_of(write(guest, {.path = "/tmp/loop"}, "x")) == ErrorCode::path_invalid);
  CHECK(code_of(write(guest, {.path = "/root/x", .user = "worker"}, "x")) == ErrorCode::file_permission);
  CHECK(code_of(guest.finish(guest.session().open_file_list({.path = "/etc/passwd"}))) == ErrorCode::not_a_folder);
  CHECK(code_of(guest.finish(guest.session().open_file_stat({.path = "/nosuch"}))) == ErrorCode::file_not_found);
  const std::string long_name = "/" + std::string(255, 'n');
  CHECK(code_of(read(guest, {.path = long_name})) == ErrorCode::file_not_found);
}

TEST_CASE("a user's files are the user's", "[guest][files]") {
  auto& guest = shared_guest();
  guest.shell("chown worker:worker /home/worker");
  REQUIRE(write(guest, {.path = "/home/worker/a/b", .user = "worker"}, "mine").exit);
  CHECK(guest.shell("stat -c '%u %g' /home/worker/a /home/worker/a/b").out == "1000 1001\n1000 1001\n");
}

TEST_CASE("a file is read whole from memory, from the disk, and where nobody can tell", "[guest][files]") {
  auto& guest = shared_guest();
  std::string bytes;
  for (int i = 0; bytes.size() < 1'000'000; ++i) bytes += std::to_string(i) + "\n";
  REQUIRE(write(guest, {.path = "/data/long"}, bytes).exit);
  CHECK(read(guest, {.path = "/data/long"}).out == bytes);
  CHECK(read(guest, {.path = "/data/long", .offset = 999'000, .length = 500}).out == bytes.substr(999'000, 500));
  CHECK(read(guest, {.path = "/data/long", .offset = 2'000'000}).out.empty());
  guest.shell("sync; echo 3 > /proc/sys/vm/drop_caches");
  CHECK(read(guest, {.path = "/data/long"}).out == bytes);
  const auto from_proc = read(guest, {.path = "/proc/filesystems"});
  CHECK(from_proc.exit);
  CHECK(from_proc.out == guest.shell("cat /proc/filesystems").out);
  guest.shell("rm /data/long");
}

TEST_CASE("a file that is read slowly holds up nobody", "[guest][files]") {
  auto& guest = shared_guest();
  guest.shell("dd if=/dev/zero of=/run/big bs=64k count=64 2>/dev/null");
  guest.grants = false;
  const auto slow = guest.session().open_file_read({.path = "/run/big"});
  const auto is_held = [&] {
    return is_all_of_the_credit(guest.outcome(*slow).out.size(), ChannelSession::file_window);
  };
  guest.until(is_held);
  CHECK(guest.shell("echo others go on").out == "others go on\n");
  CHECK(is_held());

  guest.grants = true;
  guest.session().grant(*slow, static_cast<std::uint32_t>(guest.outcome(*slow).out.size()));
  CHECK(guest.finish(*slow).out.size() == 4U << 20);
  guest.shell("rm /run/big");
}
