#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "tests/tools/client/client_fixture.hpp"

using namespace nanobox;
namespace fs = std::filesystem;

namespace {

using Names = std::vector<std::string>;

/// A client that copies between folder()/here and the sandbox.
class Copying : public ClientWithSandbox {
public:
  explicit Copying(const std::vector<std::string>& server_env = {}) : ClientWithSandbox(server_env) {
    fs::create_directories(here());
  }
  fs::path here() const { return folder() / "here"; }
  std::string here(const std::string& name) const { return here() / name; }
  CommandOutput cp(const std::string& from, const std::string& to) const { return run({"cp", from, to}); }
  void copies(const std::string& from, const std::string& to) const {
    const auto done = cp(from, to);
    INFO(done.err);
    CHECK(done.exit.exit_code == 0);
    CHECK(done.out.empty());
    CHECK(done.err.empty());
  }
  std::string refuses(const std::string& from, const std::string& to) const {
    const auto done = cp(from, to);
    CHECK(done.exit.exit_code == 1);
    return done.err;
  }
};

unsigned mode_of(const fs::path& path) {
  struct stat is {};
  REQUIRE(::lstat(path.c_str(), &is) == 0);
  return is.st_mode & 07777;
}

}  // namespace

TEST_CASE_METHOD(Copying, "a file goes in and comes out with bytes, mode and time", "[client][copy]") {
  std::string bytes(700'000, '\0');
  for (std::size_t at = 0; at < bytes.size(); ++at) bytes[at] = static_cast<char>(at * 7 >> 3);
  write_file(here("data"), bytes);
  ::chmod(here("data").c_str(), 0640);
  copies(here("data"), "sb-0:/deep/er/data");
  CHECK(content_of(inside() / "deep/er/data") == bytes);
  CHECK(mode_of(inside() / "deep/er/data") == 0640);

  fs::last_write_time(inside() / "deep/er/data", fs::file_time_type::clock::now() - 72h);
  ::chmod((inside() / "deep/er/data").c_str(), 04755);
  copies("sb-0:/deep/er/data", here("back"));
  CHECK(content_of(here("back")) == bytes);
  CHECK(mode_of(here("back")) == 0755);  // without the set-id bit
  CHECK(fs::file_time_type::clock::now() - fs::last_write_time(here("back")) > 71h);
}

TEST_CASE_METHOD(Copying, "a file is placed as cp does", "[client][copy]") {
  write_file(here("a"), "A");
  fs::create_directories(inside() / "folder");
  copies(here("a"), "sb-0:/folder");
  CHECK(content_of(inside() / "folder/a") == "A");
  copies(here("a"), "sb-0:folder/b");
  CHECK(content_of(inside() / "folder/b") == "A");
  fs::create_directories(here("into"));
  copies("sb-0:/folder/a", here("into/"));
  CHECK(content_of(here("into/a")) == "A");
  write_file(here("into/a"), "old");
  copies("sb-0:/folder/a", here("into/a"));
  CHECK(content_of(here("into/a")) == "A");
  CHECK(names_in(here("into")) == Names{"a"});
}

TEST_CASE_METHOD(Copying, "a folder is placed as cp -r does", "[client][copy]") {
  write_file(here("src/one"), "1");
  write_file(here("src/sub/two"), "2");
  fs::create_symlink("/etc/passwd", here("src/link"));
  fs::create_hard_link(here("src/one"), here("src/same"));
  ::chmod(here("src/sub").c_str(), 0750);

  SECTION("under a new name") {
    copies(here("src"), "sb-0:/new");
    CHECK(names_in(inside() / "new") == Names{"link", "one", "same", "sub"});
    copies("sb-0:/new", here("out"));
    CHECK(names_in(here("out")) == Names{"link", "one", "same", "sub"});
    CHECK(content_of(here("out/sub/two")) == "2");
    CHECK(fs::read_symlink(here("out/link")) == "/etc/passwd");
    CHECK(mode_of(here("out/sub")) == 0750);
  }
  SECTION("into a folder that is there") {
    fs::create_directories(inside() / "app");
    copies(here("src"), "sb-0:/app");
    CHECK(names_in(inside() / "app") == Names{"src"});
    copies("sb-0:/app", here());
    CHECK(content_of(here("app/src/sub/two")) == "2");
  }
  SECTION("its content alone") {
    fs::create_directories(inside() / "app");
    copies(here("src/."), "sb-0:/app");
    CHECK(names_in(inside() / "app") == Names{"link", "one", "same", "sub"});
    write_file(here("out/sub/kept"), "K");
    write_file(here("out/one"), "old");
    copies("sb-0:/app/.", here("out"));
    CHECK(content_of(here("out/sub/kept")) == "K");
    CHECK(content_of(here("out/one")) == "1");
    CHECK(names_in(here("out")) == Names{"link", "one", "same", "sub"});
  }
}

TEST_CASE_METHOD(Copying, "what cannot be placed is refused with the path, and nothing is left", "[client][copy]") {
  write_file(here("file"), "F");
  write_file(inside() / "file", "I");
  write_file(inside() / "folder/x", "X");
  CHECK(refuses("sb-0:/missing", here()).find("sb-0:/missing: nothing is there") != std::string::npos);
  CHECK(refuses(here("missing"), "sb-0:/").find(here("missing") + ": No such file") != std::string::npos);
  CHECK(refuses(here("file"), "sb-0:/none/").find("make it first") != std::string::npos);
  CHECK(refuses(here("file"), "sb-0:/file/").find("leave out the '/'") != std::string::npos);
  CHECK(refuses("sb-0:/file/", here()).find("it is no folder") != std::string::npos);
  CHECK(refuses("sb-0:/folder", here("file")).find("a folder cannot replace") != std::string::npos);
  CHECK(refuses("sb-0:/file", here("no/such")).find("make the folder") != std::string::npos);
  CHECK(refuses(here("file"), here("other")).find("write SANDBOX:/path") != std::string::npos);
  CHECK(refuses("sb-9:/a", here()).find("no sandbox has the id 'sb-9'") != std::string::npos);
  CHECK(names_in(here()) == Names{"file"});
}

TEST_CASE_METHOD(Copying, "links on the way are followed, here and inside", "[client][copy]") {
  write_file(inside() / "real/file", "R");
  fs::create_symlink("real/file", inside() / "to-file");
  fs::create_symlink("real", inside() / "to-folder");
  fs::create_symlink("ring", inside() / "ring");
  copies("sb-0:/to-file", here("got"));
  CHECK(content_of(here("got")) == "R");
  write_file(here("new"), "N");
  copies(here("new"), "sb-0:/to-folder");
  CHECK(content_of(inside() / "real/new") == "N");
  CHECK(refuses("sb-0:/ring", here()).find("too many links") != std::string::npos);
  write_file(here("target"), "old");
  fs::create_symlink("target", here("link"));
  copies("sb-0:/to-file", here("link"));
  CHECK(fs::is_symlink(here("link")));
  CHECK(content_of(here("target")) == "R");
}

TEST_CASE_METHOD(Copying, "a dash is stdin and stdout, for files and archives", "[client][copy]") {
  write_file(inside() / "file", std::string("a\0b", 3));
  CHECK(cp("sb-0:/file", "-").out == std::string("a\0b", 3));
  write_file(inside() / "folder/x", "X");
  const auto tar = cp("sb-0:/folder", "-").out;
  CHECK(tar.substr(257, 5) == "ustar");

  const auto send = [&](const std::string& bytes, const std::string& to) {
    write_file(here("input"), bytes);
    const UniqueFd input{::open(here("input").c_str(), O_RDONLY | O_CLOEXEC)};
    auto call = command({"cp", "-", to});
    call.descriptors = {{input.get(), 0}};
    CHECK(run_command(call, 60s).value().exit.exit_code == 0);
  };
  send(tar, "sb-0:/unpacked/");
  CHECK(content_of(inside() / "unpacked/x") == "X");
  send("bytes", "sb-0:/plain");
  CHECK(content_of(inside() / "plain") == "bytes");
}

TEST_CASE_METHOD(Copying, "files and folders go from one place inside to another", "[client][copy]") {
  write_file(inside() / "from/file", "F");
  copies("sb-0:/from/file", "sb-0:/copy");
  CHECK(content_of(inside() / "copy") == "F");
  copies("sb-0:/from", "sb-0:/to");
  CHECK(content_of(inside() / "to/file") == "F");
}

TEST_CASE_METHOD(Copying, "pipes and devices of ours are left out, and said", "[client][copy]") {
  write_file(here("src/file"), "F");
  REQUIRE(::mkfifo(here("src/pipe").c_str(), 0600) == 0);
  const auto done = cp(here("src"), "sb-0:/dst");
  CHECK(done.exit.exit_code == 0);
  CHECK(done.err.find("left out " + here("src/pipe")) != std::string::npos);
  CHECK(names_in(inside() / "dst") == Names{"file"});
}

TEST_CASE("a download that is cut leaves the old file and nothing else", "[client][copy]") {
  Copying client({"STAND_IN_CUT=1000"});
  write_file(client.inside() / "file", std::string(5000, 'x'));
  write_file(client.here("file"), "old");
  CHECK(client.refuses("sb-0:/file", client.here("file")).find("sb-0:/file") != std::string::npos);
  CHECK(content_of(client.here("file")) == "old");
  write_file(client.inside() / "folder/file", std::string(5000, 'x'));
  client.refuses("sb-0:/folder", client.here("new"));
  CHECK(names_in(client.here()) == Names{"file"});
}

TEST_CASE("Ctrl-C in a download leaves nothing", "[client][copy]") {
  Copying client({"STAND_IN_STALL=1000"});
  write_file(client.inside() / "file", std::string(5000, 'x'));
  write_file(client.inside() / "folder/file", std::string(5000, 'x'));
  const std::string from = GENERATE("sb-0:/file", "sb-0:/folder");
  FolderWatch watch(client.private_folder());
  auto child = ChildProcess::spawn(client.command({"cp", from, client.here("target")})).value();
  watch.until_there(client.private_folder() / "stalled");
  child.signal(SIGINT);
  CHECK(child.wait(60s).value().exit_code == 130);
  CHECK(names_in(client.here()).empty());
}

TEST_CASE("an upload that is refused in its middle says why", "[client][copy]") {
  Copying client({"STAND_IN_FULL=1"});
  write_file(client.here("src/file"), std::string(3'000'000, 'x'));
  CHECK(client.refuses(client.here("src/file"), "sb-0:/file").find("sb-0:/file: no space is left inside") !=
        std::string::npos);
  CHECK(client.refuses(client.here("src"), "sb-0:/dst").find("sb-0:/dst: no space is left inside") !=
        std::string::npos);
}
