#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "config/child_process.hpp"
#include "tools/nanobox/json.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

/// The stand-in, and the program that asks it.
class Inspected {
public:
  explicit Inspected(std::vector<std::string> server_env = {}) {
    std::string name = std::filesystem::temp_directory_path() / "nanobox-inspect-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder_ = name;
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const UniqueFd reader(ends[0]), writer(ends[1]);
    server_env.emplace_back("PATH=/usr/bin:/bin");
    server_.emplace(ChildProcess::spawn({.program = NANOBOX_INSPECT_STAND_IN,
                                         .arguments = {folder_},
                                         .env = server_env,
                                         .descriptors = {{.source = writer.get(), .target = 1}}})
                        .value());
    for (char c = 0; ::read(reader.get(), &c, 1) == 1 && c != '\n';) url_ += c;
    REQUIRE(url_.starts_with("http://"));
  }
  ~Inspected() {
    server_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  CommandOutput run(std::vector<std::string> args, const std::vector<std::string>& more_env = {}) const {
    std::vector<std::string> env = {"PATH=/usr/bin:/bin", "NANOBOX_DATA=" + folder_.string(), "NANOBOX_KEY=key",
                                    "NANOBOX_SERVER=" + url_, "LANG=C"};
    env.insert(env.begin(), more_env.begin(), more_env.end());  // the first of a name counts
    return run_command(
               {.program = NANOBOX_INSPECT_PROGRAM, .arguments = std::move(args), .env = env, .descriptors = {}}, 60s,
               32U << 20)
        .value();
  }
  std::string requests() const {
    std::ifstream file(folder_ / "requests.log");
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::filesystem::path folder() const { return folder_; }
  const std::string& url() const { return url_; }

private:
  std::filesystem::path folder_;
  std::string url_;
  std::optional<ChildProcess> server_;
};

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

rapidjson::Document json_of(const std::string& text) {
  rapidjson::Document json;
  json.Parse(text.c_str());
  REQUIRE(json.IsObject());
  return json;
}

std::size_t items_in(const std::string& text) {
  return json_of(text)["items"].Size();
}

/// The words of the line that begins with `first`, one blank between them.
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

TEST_CASE("runs are listed, the newest first, and chosen by what is asked", "[inspection][program]") {
  const Inspected server;
  const auto all = server.run({"runs"});
  CHECK(all.exit.exit_code == 0);
  CHECK(line_of(all.out, "RUN") == "RUN KIND SUBJECT STATUS NODE AGE TIME WHERE");
  CHECK(all.out.find("op-0007") < all.out.find("op-0001"));
  CHECK(has(line_of(all.out, "op-0005"), "boot sb-broken failed node-a"));
  CHECK(line_of(all.out, "op-0005").ends_with("vm: vmm_failed"));
  CHECK(line_of(all.out, "op-0006").ends_with("pull 45 %"));
  CHECK(items_in(server.run({"runs", "--json", "--kind", "boot"}).out) == 5);
  CHECK(items_in(server.run({"runs", "--json", "--status", "failed"}).out) == 1);
  CHECK(items_in(server.run({"runs", "--json", "--subject", "sb-one"}).out) == 1);
  CHECK(items_in(server.run({"runs", "--json", "--node", "node-b"}).out) == 1);
  CHECK(items_in(server.run({"runs", "--json", "--since", "1m"}).out) == 5);
  CHECK(items_in(server.run({"runs", "--json", "--limit", "2"}).out) == 2);
  CHECK(has(server.requests(), "/api/v1/pipelines/runs?limit=2&order=desc\n"));
}

TEST_CASE("where there are no runs, that is said and fine", "[inspection][program]") {
  const Inspected server({"STAND_IN_IDLE=1"});
  for (const auto& command : std::vector<std::vector<std::string>>{
           {"runs"}, {"hotspots"}, {"diff", "10m..5m", "5m..now"}, {"trace", "-o", "-"}, {"top", "--once"}})
    CHECK(server.run(command).exit.exit_code == 0);
  CHECK(server.run({"runs"}).err == "no such runs\n");
  CHECK(has(server.run({"top", "--once"}).out, "no stage ended in the last 1m"));
}

TEST_CASE("long lists are read page by page", "[inspection][program]") {
  const Inspected server({"STAND_IN_RUNS=1200"});
  CHECK(items_in(server.run({"runs", "--json", "--limit", "5000"}).out) == 1207);
  CHECK(has(server.requests(), "&cursor=1000\n"));
  CHECK(json_of(server.run({"hotspots", "--since", "1h", "--json"}).out)["runs"].GetInt() == 1207);
}

TEST_CASE("a run is shown with its bars and why it failed, which is the exit code", "[inspection][program]") {
  const Inspected server;
  const auto well = server.run({"run", "op-0001"});
  CHECK(well.exit.exit_code == 0);
  CHECK(has(well.out, "warmup of python3  succeeded\n"));
  CHECK(has(line_of(well.out, "pull"), "pull succeeded 3 4.00 s image_puller 40.0 MiB 10.0 MiB/s ####"));
  CHECK(has(well.out, "pull: 5 layers, 1 was there\n"));
  const auto failed = server.run({"run", "op-0005"});
  CHECK(failed.exit.exit_code == 1);
  CHECK(has(failed.out,
            "vm failed after 2 tries: vmm_failed\n  attempted  start VM sb-broken\n"
            "  because    the VMM ended with 1: no such device\n  mend       see nanobox logs sb-broken\n"));
  CHECK(json_of(server.run({"run", "op-0005", "--json"}).out)["status"] == "failed");
}

TEST_CASE("a run is found by the sandbox or template it made, too", "[inspection][program]") {
  const Inspected server;
  CHECK(has(server.run({"run", "sb-two"}).out, "op-0004 on node-b"));
  CHECK(has(server.run({"run", "--json", "python3"}).out, "\"op-0001\""));
  const auto gone = server.run({"run", "op-9999"});
  CHECK(gone.exit.exit_code == 1);
  CHECK(has(gone.err, "no run is called so"));
}

TEST_CASE("hotspots sum the stages of the time asked for", "[inspection][program]") {
  const Inspected server;
  const auto table = server.run({"hotspots", "--kind", "boot", "--since", "1m"}).out;
  CHECK(line_of(table, "STAGE") == "STAGE RUNS FAIL P50 P95 P99 MAX TOTAL SHARE RETRIES");
  CHECK(line_of(table, "boot/vm") == "boot/vm 3 1 900 ms 2.00 s 2.00 s 2.00 s 3.30 s 95.9 % 1");
  const auto json = json_of(server.run({"hotspots", "--kind", "boot", "--since", "1m", "--json"}).out);
  CHECK(json["items"][0]["p50_us"].GetInt64() == 900'000);
}

TEST_CASE("diff says by its exit code whether something got slower than allowed", "[inspection][program]") {
  const Inspected server;
  const auto runs = server.run({"diff", "op-0003", "op-0004"});
  CHECK(runs.exit.exit_code == 0);
  CHECK(line_of(runs.out, "boot/vm") == "boot/vm 400 ms 900 ms +500 ms 2.25x");
  CHECK(server.run({"diff", "op-0003", "sb-two", "--threshold", "20%"}).exit.exit_code == 3);
  CHECK(server.run({"diff", "op-0003", "op-0004", "--threshold", "130"}).exit.exit_code == 0);
  CHECK(server.run({"diff", "op-0004", "op-0003", "-t", "1"}).exit.exit_code == 0);
  const auto windows = server.run({"diff", "--a", "10m..1m", "--b", "1m..now", "--kind", "boot", "--json", "-t5"});
  CHECK(windows.exit.exit_code == 3);
  CHECK(json_of(windows.out)["items"][0]["slower_us"].GetInt64() == 500'000);
}

TEST_CASE("actors are a tree, and what they say cannot rewrite the terminal", "[inspection][program]") {
  const Inspected server;
  const auto tree = server.run({"actors"}).out;
  CHECK(has(tree, "|- scheduler"));
  CHECK(has(tree, "   `- boot_run x3"));
  CHECK(has(line_of(tree, "node-a"), "node-a"));
  CHECK(has(tree, "unsteady; the disk is ?[31mfull"));
  CHECK(items_in(server.run({"actors", "--json"}).out) == 7);
}

TEST_CASE("an older server is filtered for, and its lack of actors is told", "[inspection][program]") {
  const Inspected server({"STAND_IN_OLD=1"});
  CHECK(items_in(server.run({"runs", "--json", "--subject", "sb-one"}).out) == 1);
  CHECK(server.run({"runs", "--limit", "1"}).out.find("op-0007") == std::string::npos);  // it never started
  CHECK(has(server.run({"run", "sb-two"}).out, "op-0004"));
  CHECK(has(server.run({"hotspots"}).out, "boot/vm"));
  const auto actors = server.run({"actors"});
  CHECK(actors.exit.exit_code == 1);
  CHECK(has(actors.err, "older than GET /api/v1/actors"));
  const auto top = server.run({"top", "--once"});
  CHECK(top.exit.exit_code == 0);
  CHECK(has(top.out, "this server is older and does not tell"));
}

TEST_CASE("a key that is no admin's sees what is its own", "[inspection][program]") {
  const Inspected server({"STAND_IN_USER=1"});
  CHECK(server.run({"runs"}).exit.exit_code == 0);
  CHECK(server.run({"runs", "--all"}).exit.exit_code == 1);
  CHECK(has(server.run({"actors"}).err, "admin's key only"));
  CHECK(has(server.run({"top", "--once"}).out, "shown to the admin's key only"));
}

TEST_CASE("a frame of top fits what it is drawn on", "[inspection][program]") {
  const Inspected server({"STAND_IN_RUNS=300"});
  for (const char* columns : {"80", "120"}) {
    const auto frame = server.run({"top", "--once", "--window", "1h"}, {std::string("COLUMNS=") + columns}).out;
    CHECK(std::ranges::count(frame, '\n') <= 23);
    std::istringstream lines(frame);
    for (std::string line; std::getline(lines, line);) CHECK(line.size() <= std::stoul(columns));
    CHECK(has(frame, "12 running, 1 paused"));
    CHECK(has(frame, "boot/vm"));
    CHECK(has(frame, "node-a/image_puller"));
    CHECK(has(frame, "python3"));
    CHECK(has(frame, "sb-299"));
  }
  const auto json = json_of(server.run({"top", "--json", "--window", "1h"}).out);
  CHECK(json["runs"]["succeeded"].GetInt() == 304);
  CHECK(json["actors"].Size() == 7);
}

TEST_CASE("top without a terminal says how to get one frame", "[inspection][program]") {
  const auto refused = Inspected().run({"top"});
  CHECK(refused.exit.exit_code == 1);
  CHECK(has(refused.err, "--once"));
}

TEST_CASE("a trace is written to a file that viewers read", "[inspection][program]") {
  const Inspected server;
  const auto file = server.folder() / "trace.json";
  const auto said = server.run({"trace", "--since", "1h", "-o", file});
  CHECK(said.exit.exit_code == 0);
  CHECK(has(said.err, "7 runs in "));
  std::ifstream stream(file);
  CHECK(json_of({std::istreambuf_iterator<char>(stream), {}})["traceEvents"].Size() > 20);
  CHECK(server.run({"trace", "-o", "/nowhere/trace.json"}).exit.exit_code == 1);
}

TEST_CASE("pipelines are drawn as boxes, a graph or a flowchart", "[inspection][program]") {
  const Inspected server;
  CHECK(has(server.run({"pipelines"}).out, "| place "));
  CHECK(has(server.run({"pipelines", "--graphviz"}).out, "\"boot/place\" -> \"boot/disk\""));
  CHECK(has(server.run({"pipelines", "--mermaid"}).out, "p0s0 -->|\"PlacedBoot\"| p0s1"));
  CHECK(items_in(server.run({"pipelines", "--json"}).out) == 2);
}

TEST_CASE("wrong command lines end with 2 before any server is asked", "[inspection][program]") {
  const Inspected server;
  for (const auto& wrong : std::vector<std::vector<std::string>>{{"run"},
                                                                 {"run", "a", "b"},
                                                                 {"runs", "--since", "soon"},
                                                                 {"runs", "--limit", "0"},
                                                                 {"diff", "op-1"},
                                                                 {"diff", "op-1", "10m..5m"},
                                                                 {"diff", "--a", "10m..5m"},
                                                                 {"diff", "a", "b", "--threshold", "much"},
                                                                 {"diff", "5m..10m", "5m..now"},
                                                                 {"trace"},
                                                                 {"top", "--interval", "0"},
                                                                 {"pipelines", "--graphviz", "--mermaid"},
                                                                 {"nothing"}}) {
    CAPTURE(wrong[0]);
    CHECK(server.run(wrong).exit.exit_code == 2);
  }
  CHECK(server.requests().empty());
}

TEST_CASE("help names the exit codes, and each command teaches", "[inspection][program]") {
  const Inspected server;
  const auto help = server.run({"--help"}).out;
  CHECK(has(help, "Exit codes: 0 fine, 1 a request failed"));
  for (const char* command : {"pipelines", "runs", "run", "top", "trace", "hotspots", "actors", "diff"})
    CHECK(has(server.run({command, "--help"}).out, "Usage: nanobox-inspect " + std::string(command) + " [options]"));
}

TEST_CASE("a server that is not there is a failed request", "[inspection][program]") {
  const Inspected server;
  CHECK(server.run({"runs", "--server", "http://127.0.0.1:1"}).exit.exit_code == 1);
  CHECK(server.run({"runs"}, {"NANOBOX_KEY=wrong"}).exit.exit_code == 1);
}
