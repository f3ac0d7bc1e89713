#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "guest/protocol.h"
#include "pipeline/boot/channel/refusal.hpp"
#include "tests/guest/ready_guest.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;

namespace {

std::string host_shell(const std::string& script, const std::string& file = "") {
  char name[] = "/tmp/nbarchive-XXXXXX";
  const UniqueFd fd(::mkstemp(name));
  std::ofstream(name, std::ios::binary) << file;
  auto output = run_command({.program = "/bin/sh",
                             .arguments = {"-ec", "archive=" + std::string(name) + "; " + script},
                             .env = {},
                             .descriptors = {}},
                            60s);
  std::ifstream in(name, std::ios::binary);
  std::string written{std::istreambuf_iterator<char>(in), {}};
  std::filesystem::remove(name);
  if (!output || !output->exit.succeeded()) throw std::runtime_error("the host's script failed");
  return output->out.empty() ? written : output->out;
}

StreamOutcome upload(GuestMachine& guest, const FileRequest& request, std::string_view archive) {
  const auto stream = guest.session().open_archive_write(request);
  if (!stream) throw std::runtime_error(describe(stream.error()));
  guest.send(*stream, archive);
  if (!guest.session().write_stdin(*stream, "", true)) throw std::runtime_error("stdin is full");
  return guest.finish(*stream);
}

}  // namespace

TEST_CASE("a folder goes in and comes back as an archive", "[guest][archive]") {
  auto& guest = shared_guest();
  const auto archive = host_shell(
      "d=$(mktemp -d); cd $d; mkdir -m 750 sub; head -c 300000 /dev/zero >sub/zeros; ln sub/zeros linked;"
      "ln -s sub/zeros link; echo x >owned; chmod 4711 owned; touch -d '2001-02-03 04:05:06' owned;"
      "tar --owner=1000 --group=29 --numeric-owner -cf $archive .; rm -r $d");

  REQUIRE(upload(guest, {.path = "/tmp/un/packed"}, archive).exit);

  CHECK(guest
            .shell("cd /tmp/un/packed; stat -c '%n %a %u %g' sub sub/zeros owned; readlink link; stat -c '%Y' owned;"
                   "stat -c %h linked")
            .out == "sub 750 1000 29\nsub/zeros 644 1000 29\nowned 4711 1000 29\nsub/zeros\n981173106\n2\n");
  const auto back = guest.finish(guest.session().open_archive_read({.path = "/tmp/un/packed"}));
  REQUIRE(back.exit);
  // Which of two names of one file comes first, and is no link, is up to the folder that was read.
  const std::string described =
      "tar --numeric-owner -tvf $archive | awk '!/ [.].(linked|sub.zeros)/ {print $1, $2, $6, $7, $8, $9}' | sort";
  CHECK(host_shell(described, back.out) == host_shell(described, archive));
  CHECK(host_shell("tar -tf $archive | sort", back.out) == host_shell("tar -tf $archive | sort", archive));
  CHECK(host_shell("tar -tvf $archive | grep -c ' link to '", back.out) == "1\n");
}

TEST_CASE("a folder that is made for an archive is its owner's", "[guest][archive]") {
  auto& guest = shared_guest();
  guest.shell("chown worker:worker /home/worker");
  const auto archive = host_shell("d=$(mktemp -d); cd $d; echo x >f; tar --owner=0 --group=0 -cf $archive f; rm -r $d");
  REQUIRE(upload(guest, {.path = "/home/worker/new", .user = "worker"}, archive).exit);
  CHECK(guest.shell("stat -c '%u %g' /home/worker/new /home/worker/new/f").out == "1000 1001\n1000 1001\n");
}

TEST_CASE("an archive that cannot be unpacked says why", "[guest][archive]") {
  auto& guest = shared_guest();
  const auto code = [&](const std::string& path, std::string_view archive, const std::string& user = "") {
    const auto outcome = upload(guest, {.path = path, .user = user}, archive);
    return outcome.error ? refusal_of(*outcome.error, "unpack", path).code : ErrorCode::internal;
  };
  const auto small = host_shell("d=$(mktemp -d); cd $d; echo x >f; tar -cf $archive f; rm -r $d");
  CHECK(code("/tmp/a", "no archive") == ErrorCode::archive_invalid);
  CHECK(code("/tmp/a",
             host_shell("d=$(mktemp -d); cd $d; echo x >f; tar -cf $archive --transform=s,^,../, f; rm -r $d")) ==
        ErrorCode::archive_invalid);
  CHECK(code("/tmp/a",
             host_shell("d=$(mktemp -d); cd $d; head -c 20000000 /dev/zero >f; tar -cf $archive f; rm -r $d")) ==
        ErrorCode::guest_disk_full);
  CHECK(code("/etc/passwd", small) == ErrorCode::not_a_folder);
  CHECK(code("/root/x", small, "worker") == ErrorCode::file_permission);
  CHECK(guest.shell("find / -xdev -name '.nanobox-*'; ls -A /tmp/a").out.empty());
  const auto missing = guest.finish(guest.session().open_archive_read({.path = "/nosuch"}));
  CHECK(refusal_of(*missing.error, "read", "").code == ErrorCode::file_not_found);
}

TEST_CASE("the root folder is packed without what is mounted in it", "[guest][archive]") {
  auto& guest = shared_guest();
  const auto root = guest.finish(guest.session().open_archive_read({.path = "/"}));
  REQUIRE(root.exit);
  const auto names = host_shell("tar -tf $archive", root.out);
  CHECK(names.find("./proc/\n") != std::string::npos);
  CHECK(names.find("./proc/1/") == std::string::npos);
  CHECK(names.find("./bin/busybox\n") != std::string::npos);
}
