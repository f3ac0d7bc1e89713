#include <sstream>

#include "tests/tools/client/client_fixture.hpp"

using namespace nanobox;

namespace {

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

/// The words of a line that begins with `first`, one blank between them; "" where there is none.
std::string line_of(const std::string& text, std::string_view first) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(first)) continue;
    std::istringstream words(line);
    std::string joined;
    for (std::string word; words >> word;) joined += (joined.empty() ? "" : " ") + word;
    return joined;
  }
  return "";
}

}  // namespace

TEST_CASE("nodes are listed with what they hold, and why they do not take sandboxes", "[client][node]") {
  const ClientWithSandbox client;
  const auto list = client.run({"nodes"}).out;
  CHECK(line_of(list, "ID") == "ID STATUS VMM SANDBOXES MEMORY DISK HEARTBEAT REASON");
  const auto well = line_of(list, "node-a");
  CHECK(well.starts_with("node-a ready qemu 3 1536/16384 MiB 6144/100000 MiB "));
  CHECK(well.ends_with("s ago"));
  CHECK(line_of(list, "node-b") == "node-b lost (cordoned) 0 0/0 MiB 0/0 MiB never it has not connected yet");
  CHECK(has(client.run({"nodes", "--json"}).out, "\"next_cursor\":null"));
}

TEST_CASE("what an older server does not tell of a node is left blank", "[client][node]") {
  const ClientWithSandbox client;
  CHECK(line_of(client.run({"nodes"}).out, "node-c") == "node-c unready the disk is ?[31mfull");
  CHECK(client.run({"node", "show", "node-c"}).out ==
        "id      node-c\nstatus  unready\nreason  the disk is ?[31mfull\n");
}

TEST_CASE("a node is shown in lines, one for each thing known", "[client][node]") {
  const ClientWithSandbox client;
  const auto shown = client.run({"node", "show", "node-a"}).out;
  CHECK(line_of(shown, "status") == "status ready");
  CHECK(line_of(shown, "processors") == "processors 3/8");
  CHECK(line_of(shown, "pool node22") == "pool node22 2 ready of 2 to 4");
  CHECK(line_of(shown, "pool deno") == "pool deno 0 ready of 1 to 1; no memory");
  CHECK(line_of(shown, "subnet part") == "subnet part 10.88.0.0/20");
  CHECK(line_of(shown, "reason").empty());
  CHECK(has(client.run({"node", "show", "node-a", "--json"}).out, "\"version\": \"1.2.3\""));
  const auto gone = client.run({"node", "show", "node-z"});
  CHECK(gone.exit.exit_code == 1);
  CHECK(has(gone.err, "there is no node 'node-z'"));
}

TEST_CASE("a node is drained within ten minutes, or what is said", "[client][node]") {
  const ClientWithSandbox client;
  CHECK(client.run({"node", "drain", "node-a"}).out == "node-a\n");
  CHECK(has(client.run({"node", "drain", "node-a", "--json"}).out, "\"asked\": {\"deadline_sec\": 600}"));
  CHECK(has(client.run({"node", "drain", "node-a", "--deadline", "2m", "--json"}).out, "{\"deadline_sec\": 120}"));
  CHECK(has(client.run({"node", "drain", "--deadline=0", "node-a", "--json"}).out, "{\"deadline_sec\": 0}"));
  for (const char* deadline : {"soon", "25h"})
    CHECK(client.run({"node", "drain", "node-a", "--deadline", deadline}).exit.exit_code == 1);
  CHECK(client.count("POST /api/v1/nodes/node-a/drain") == 4);
}

TEST_CASE("a node is cordoned, uncordoned and removed", "[client][node]") {
  const ClientWithSandbox client;
  CHECK(client.run({"node", "cordon", "node-a"}).out == "node-a\n");
  CHECK(has(client.run({"node", "cordon", "node-a", "--json"}).out, "\"cordoned\": true"));
  CHECK(has(client.run({"node", "uncordon", "node-a", "--json"}).out, "\"cordoned\": false"));
  CHECK(client.run({"node", "rm", "node-b"}).out == "node-b\n");
  CHECK(client.count("DELETE /api/v1/nodes/node-b") == 1);
  const auto refused = client.run({"node", "rm", "node-a"});
  CHECK(refused.exit.exit_code == 1);
  CHECK(refused.out.empty());
  CHECK(has(refused.err, "it is connected"));
}

TEST_CASE("a node's id is one segment of a path, whatever it holds", "[client][node]") {
  const ClientWithSandbox client;
  CHECK(client.run({"node", "show", "a/../b?c"}).exit.exit_code == 1);
  CHECK(client.count("GET /api/v1/nodes/a%2F..%2Fb%3Fc\n") == 1);
}

TEST_CASE("a dry run says where a sandbox would go and why, and makes none", "[client][node]") {
  const ClientWithSandbox client;
  CHECK(client.run({"create", "x", "--dry-run"}).out ==
        "it would go to node-a\n"
        "  has the snapshot\n"
        "  load of two drawn: 12 % against 40 %\n\n"
        "OTHERS  FITS  WHY\n"
        "node-b  yes   drawn too, not less loaded\n"
        "node-c  no    draining\n");
  const auto json = client.run({"create", "x", "--memory", "1G", "--boot", "cold", "--dry-run", "--json"}).out;
  CHECK(has(json, R"("asked": {"template": "x", "resources": {"memory_mb": 1024}, "boot": "cold"})"));
  const auto refused = client.run({"create", "huge", "--dry-run"});
  CHECK(refused.exit.exit_code == 1);
  CHECK(has(refused.err, "2 full (memory)"));
  CHECK(client.count("POST /api/v1/sandboxes\n") == 1);
}

TEST_CASE("a server that overlooks a dry run is not taken at its word", "[client][node]") {
  const ClientWithSandbox client;
  const auto done = client.run({"create", "of-an-older-server", "--dry-run"});
  CHECK(done.exit.exit_code == 1);
  CHECK(done.out.empty());
  CHECK(has(done.err, "made sandbox sb-1\n  nanobox rm sb-1"));
  CHECK(client.run({"rm", "sb-1"}).out == "sb-1\n");
}

TEST_CASE("sandboxes are listed with their nodes only where these differ", "[client][node]") {
  const ClientWithSandbox client;
  const auto one = client.run({"ps"}).out;
  CHECK_FALSE(has(one, "NODE"));
  CHECK_FALSE(has(one, "node-a"));
  CHECK(client.run({"create", "x", "--metadata", "node=node-b"}).out == "sb-1\n");
  const auto two = client.run({"ps"}).out;
  CHECK(has(line_of(two, "SANDBOX"), "STATUS SIZE NODE ADDRESS"));
  CHECK(has(line_of(two, "sb-0"), " MiB node-a "));
  CHECK(has(line_of(two, "sb-1"), " MiB node-b "));
  CHECK(client.run({"rm", "sb-1"}).out == "sb-1\n");
}

TEST_CASE("a token goes alone into a pipe", "[client][node]") {
  const ClientWithSandbox client;
  const auto made = client.run({"node", "token"});
  CHECK(made.out == "nbx1_ab_cd\n");
  CHECK(made.err.empty());
  CHECK(has(client.run({"node", "token", "--json"}).out, "\"asked\": {\"lifetime_sec\": 3600}"));
  CHECK(has(client.run({"node", "token", "--lifetime", "2h", "--json"}).out, "\"asked\": {\"lifetime_sec\": 7200}"));
  CHECK(client.run({"node", "token", "--lifetime", "0"}).exit.exit_code == 1);
}

TEST_CASE_METHOD(Client, "what cannot be done with a node is refused with what can, and 2", "[client][node]") {
  const auto refusal = [&](std::vector<std::string> words) {
    words.insert(words.begin(), "node");
    const auto done = run(words);
    CHECK(done.exit.exit_code == 2);
    CHECK(done.out.empty());
    return done.err;
  };
  CHECK(has(refusal({}), "usage: nanobox node show ID"));
  CHECK(has(refusal({"drian", "node-a"}), "did you mean 'nanobox node drain'?"));
  CHECK(has(refusal({"frobnicate"}), "show, drain, cordon, uncordon, rm and token"));
  CHECK(has(refusal({"drain"}), "write nanobox node drain ID"));
  CHECK(has(refusal({"drain", ""}), "no node is named"));
  CHECK(has(refusal({"rm", "node-a", "node-b"}), "'node-b' is one word too many"));
  CHECK(has(refusal({"token", "node-a"}), "one word too many"));
  CHECK(has(refusal({"rm", "node-a", "--deadline", "1m"}), "it is for 'node drain'"));
  CHECK(has(refusal({"drain", "node-a", "--lifetime", "1m"}), "it is for 'node token'"));
  CHECK(run({"help", "node"}).out == run({"node", "--help"}).out);
}
