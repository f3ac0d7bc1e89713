#include <poll.h>
#include <sys/socket.h>

#include "config/child_process.hpp"
#include "pipeline/boot/memory/guest_memory.hpp"
#include "pipeline/boot/memory/layer_sender.hpp"
#include "pipeline/boot/vmm/preload/private_memory.hpp"
#include "tests/pipeline/boot/memory/memory_fixture.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;
using Catch::Matchers::Contains;

namespace {

/// A stand-in for a VMM, with the preload.
class PreloadFixture : public MemoryFixture {
public:
  std::filesystem::path memory;
  UniqueFd layers, commands, answers;
  std::optional<ChildProcess> vmm;

  void start(const std::string& letters) {
    memory = memory_file(letters);
    const auto object = private_memory_object();
    std::ofstream(folder / "pre.so", std::ios::binary)
        .write(reinterpret_cast<const char*>(object.data()), static_cast<std::streamsize>(object.size()));
    int sockets[2], in[2], out[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
    REQUIRE(pipe2(in, O_CLOEXEC) == 0);
    REQUIRE(pipe2(out, O_CLOEXEC) == 0);
    layers = UniqueFd(sockets[0]);
    const UniqueFd theirs(sockets[1]), their_in(in[0]), their_out(out[1]);
    commands = UniqueFd(in[1]);
    answers = UniqueFd(out[0]);
    vmm = must(
        ChildProcess::spawn({.program = MEMORY_STAND_IN,
                             .arguments = {memory.string()},
                             .env = {{"LD_PRELOAD=" + (folder / "pre.so").string(),
                                      "NANOBOX_PRIVATE_MEMORY=" + memory.string(), "NANOBOX_MEMORY_LAYERS_FD=7"}},
                             .descriptors = {{their_in.get(), 0}, {their_out.get(), 1}, {2, 2}, {theirs.get(), 7}}}));
  }
  std::string ask(const std::string& command) {
    const auto line = command + "\n";
    REQUIRE(write(commands.get(), line.data(), line.size()) == static_cast<ssize_t>(line.size()));
    std::string answer;
    for (char byte = 0; byte != '\n';) {
      pollfd polled{answers.get(), POLLIN, 0};
      REQUIRE(poll(&polled, 1, 20'000) == 1);
      REQUIRE(read(answers.get(), &byte, 1) == 1);
      if (byte != '\n') answer += byte;
    }
    return answer;
  }
  Result<void> send(const MemoryLayer& layer) { return send_memory_layer(layers.get(), layer.file.get(), 20s); }
};

}  // namespace

TEST_CASE_METHOD(PreloadFixture, "a VMM that was started empty takes layers, and their files stay as they are",
                 "[memory]") {
  start("abcd..gh");
  const auto first = layer("first", 8, {{1, 2}, {5, 1}}, "BC.");
  const auto second = layer("second", 8, {{0, 1}, {2, 1}, {7, 1}}, "A!H", &first);

  const auto early = send(first);
  REQUIRE_FALSE(early);
  CHECK_THAT(early.error().reason, Contains("not mapped yet"));
  CHECK(ask("map") == "abcd..gh");
  REQUIRE(send(first));
  CHECK(ask("look") == "aBCd..gh");
  // What was written before is gone where the layer has a page.
  CHECK(ask("write 2") == "aBWd..gh");
  REQUIRE(send(second));
  CHECK(ask("look") == "AB!d..gH");
  CHECK(ask("write 0") == "WB!d..gH");
  CHECK(ask("write 4") == "WB!dW.gH");
  CHECK(letters_of(content_of(memory)) == "abcd..gh");
  CHECK(verify_pages(first));
  CHECK(verify_pages(second));

  // Clean is what memory file and layer hold.
  const auto guest = must(GuestMemory::open(vmm->pid(), memory, 8 * page_bytes));
  CHECK(must(guest.dirty_pages()) == std::vector<PageRun>{{0, 1}, {4, 1}});
}

TEST_CASE_METHOD(PreloadFixture, "the memory of an empty file takes layers too, and is found under them", "[memory]") {
  start("................");
  CHECK(ask("map") == "................");
  REQUIRE(send(layer("one", 16, {{0, 2}, {7, 2}, {15, 1}}, "abcde")));
  CHECK(ask("write 4") == "ab..W..cd......e");
  const auto guest = must(GuestMemory::open(vmm->pid(), memory, 16 * page_bytes));
  CHECK(must(guest.dirty_pages()) == std::vector<PageRun>{{4, 1}});
}

TEST_CASE_METHOD(PreloadFixture, "a VMM refuses bad layers with the reason, and goes on", "[memory]") {
  start("abcd..gh");
  CHECK(ask("map") == "abcd..gh");
  const auto refused = [&](int descriptor, const std::string& reason) {
    const auto sent = send_memory_layer(layers.get(), descriptor, 20s);
    REQUIRE_FALSE(sent);
    CHECK(sent.error().code == ErrorCode::vmm_failed);
    CHECK_THAT(sent.error().reason, Contains(reason));
  };
  refused(layer("size", 9, {{1, 1}}, "x").file.get(), "another memory size");
  const auto good = layer("good", 8, {{1, 1}}, "x");
  auto bytes = content_of(good.path);
  const auto changed = [&](const std::string& content) {
    std::ofstream(folder / "bad", std::ios::binary | std::ios::trunc) << content;
    return UniqueFd(::open((folder / "bad").c_str(), O_RDONLY | O_CLOEXEC));
  };
  refused(changed(bytes.substr(0, bytes.size() - 1)).get(), "size is not");
  refused(changed(bytes.substr(0, 10)).get(), "too short");
  refused(changed(std::string(bytes.size(), 'x')).get(), "no memory layer");
  bytes[64] ^= 2;
  refused(changed(bytes).get(), "damaged");
  refused(commands.get(), "no regular file");
  REQUIRE(::send(layers.get(), "hello", 5, MSG_NOSIGNAL) == 5);
  char answer[64];
  CHECK(std::string(answer, static_cast<std::size_t>(std::max<ssize_t>(recv(layers.get(), answer, 64, 0), 0))) ==
        "a packet must carry one layer");
  CHECK(ask("look") == "abcd..gh");
  REQUIRE(send(good));
  CHECK(ask("look") == "axcd..gh");
  // Nobody to take layers from any more: the VMM goes on.
  layers.reset();
  CHECK(ask("look") == "axcd..gh");
  commands.reset();
  CHECK(must(vmm->wait(20s)).succeeded());
}

TEST_CASE_METHOD(PreloadFixture, "a VMM that is gone, and one that does not answer, are told", "[memory]") {
  int silent[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, silent) == 0);
  const UniqueFd ours(silent[0]), theirs(silent[1]);
  const auto one = layer("one", 8, {{1, 1}}, "x");
  const auto unanswered = send_memory_layer(ours.get(), one.file.get(), 20ms);
  REQUIRE_FALSE(unanswered);
  CHECK(unanswered.error().code == ErrorCode::deadline_exceeded);

  start("abcd..gh");
  vmm.reset();
  const auto gone = send(one);
  REQUIRE_FALSE(gone);
  CHECK(gone.error().code == ErrorCode::vmm_failed);
}

TEST_CASE_METHOD(MemoryFixture, "a VMM whose socket for layers is none does not start", "[memory]") {
  const auto object = private_memory_object();
  std::ofstream(folder / "pre.so", std::ios::binary)
      .write(reinterpret_cast<const char*>(object.data()), static_cast<std::streamsize>(object.size()));
  for (const auto* descriptor : {"0", "x", "", "-1", "99"}) {
    const auto run = must(run_command(
        {.program = "python3",
         .arguments = {"-c", "print('ran')"},
         .env = {{"LD_PRELOAD=" + (folder / "pre.so").string(), "NANOBOX_PRIVATE_MEMORY=" + memory_file("a").string(),
                  std::string("NANOBOX_MEMORY_LAYERS_FD=") + descriptor}},
         .descriptors = {}},
        30s));
    CHECK(run.exit.exit_code == 125);
    CHECK(run.out.empty());
  }
}
