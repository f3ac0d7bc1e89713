#include <catch2/catch.hpp>

#include "config/clock.hpp"
#include "tools/nanobox/escape_keys.hpp"
#include "tools/nanobox/event_stream.hpp"
#include "tools/nanobox/guest_path.hpp"
#include "tools/nanobox/json.hpp"
#include "tools/nanobox/options.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/port_forward.hpp"
#include "tools/nanobox/screen_state.hpp"
#include "tools/nanobox/server_address.hpp"
#include "tools/nanobox/table.hpp"
#include "tools/nanobox/template_name.hpp"
#include "tools/nanobox/terminal_session.hpp"
#include "tools/nanobox/warmup_progress.hpp"

using namespace nanobox;
using namespace nanobox::cli;

namespace {

const std::vector<Option> kOptions = {{"memory", 'm', "SIZE", ""}, {"env", 'e', "NAME=VALUE", ""}, {"keep", 0, "", ""}};

Arguments parse(const std::vector<std::string>& args, WordOrder order = WordOrder::mixed) {
  return parse_arguments(args, kOptions, order).value();
}

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("an image's template is named after it", "[client]") {
  CHECK(template_name_for("node:22-alpine") == "node-22-alpine");
  CHECK(template_name_for("busybox") == "busybox");
  CHECK(template_name_for("docker.io/library/node:22") == "node-22");
  CHECK(template_name_for("localhost:5000/Team/app:1.2") == "localhost-5000-team-app-1.2");
  CHECK(template_name_for("oci:/images/app:1") == "images-app-1");
  CHECK(template_name_for("docker-archive:/a/b.tar") == "a-b.tar");
  CHECK(template_name_for("debian@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef") ==
        "debian-sha256-0123456789ab");
  CHECK(template_name_for("__").starts_with("image-"));
}

TEST_CASE("names of long images stay short and apart", "[client]") {
  const std::string image = "registry.example.com/" + std::string(90, 'a');
  CHECK(template_name_for(image).size() == 63);
  CHECK(template_name_for(image + "b") != template_name_for(image + "c"));
  CHECK(second_template_name_for("node:22") != template_name_for("node:22"));
  CHECK(second_template_name_for(image).size() <= 63);
}

TEST_CASE("options are read in each of their forms", "[client]") {
  const auto args = parse({"-m", "1G", "image", "--env=A=1", "-eB=2", "--keep", "--", "--env"});
  CHECK(args.value("memory") == "1G");
  CHECK(args.values("env") == Words{"A=1", "B=2"});
  CHECK(args.has("keep"));
  CHECK(args.words == Words{"image", "--env"});
}

TEST_CASE("switches may stand in one word, and the last option in it may have a value", "[client]") {
  const std::vector<Option> options = {{"stdin", 'i', "", ""}, {"tty", 't', "", ""}, {"user", 'u', "USER", ""}};
  const auto read = [&](const Words& args) { return parse_arguments(args, options, WordOrder::command_last); };
  const auto both = read({"-it", "sb", "sh", "-it"}).value();
  CHECK((both.has("stdin") && both.has("tty")));
  CHECK(both.words == Words{"sb", "sh", "-it"});
  CHECK(read({"-itu", "node", "sb"}).value().value("user") == "node");
  CHECK(read({"-tunode", "sb"}).value().value("user") == "node");
  CHECK(read({"-tx", "sb"}).error().subject == "-x");
  CHECK(read({"-tu"}).error().mend == "write -u USER");
}

TEST_CASE("behind the image everything is the command's, with or without --", "[client]") {
  CHECK(parse({"--keep", "image", "ls", "--memory"}, WordOrder::command_last).words ==
        Words{"image", "ls", "--memory"});
  CHECK(parse({"image", "--", "ls", "--", "-l"}, WordOrder::command_last).words == Words{"image", "ls", "--", "-l"});
  CHECK(parse({"--", "-odd-image", "ls"}, WordOrder::command_last).words == Words{"-odd-image", "ls"});
}

TEST_CASE("a mistaken option is named with what was meant", "[client]") {
  const auto mend = [](const Words& args) { return parse_arguments(args, kOptions, WordOrder::mixed).error().mend; };
  CHECK(mend({"--memroy", "1"}) == "did you mean --memory?");
  CHECK(mend({"--memory"}) == "write --memory SIZE");
  CHECK_FALSE(parse_arguments({"--keep=1"}, kOptions, WordOrder::mixed));
  CHECK(size_mb_option(parse({"-m", "1.5G"}), "memory").value() == 1536);
  CHECK(size_mb_option(parse({"-m", "512"}), "memory").value() == 512);
  CHECK_FALSE(size_mb_option(parse({"-m", "much"}), "memory"));
  CHECK_FALSE(number_option(parse({"-m", "-1"}), "memory", 1, 9));
}

TEST_CASE("a duration is seconds, minutes or hours, and within its bounds", "[client]") {
  const auto seconds = [](const char* text) { return seconds_option(parse({"-m", text}), "memory", 1, 7200); };
  CHECK(seconds("90").value() == 90);
  CHECK(seconds("90s").value() == 90);
  CHECK(seconds("10m").value() == 600);
  CHECK(seconds("2h").value() == 7200);
  CHECK(seconds_option(parse({}), "memory", 1, 9).value() == std::nullopt);
  for (const char* wrong : {"", "s", "1d", "1.5h", "-1s", "1 m", "1hm", "99999999999999999999"})
    CHECK(seconds(wrong).error().mend == "write seconds, or 90s, 10m or 1h");
  for (const char* beyond : {"0", "0m", "3h", "7201", "18446744073709551615h"})
    CHECK(seconds(beyond).error().reason == "must be from 1 to 7200 seconds");
}

TEST_CASE("servers are found by what people and files call them", "[client]") {
  CHECK(server_url("http://127.0.0.1:8080/") == "http://127.0.0.1:8080");
  CHECK(server_url("0.0.0.0:81\n") == "http://127.0.0.1:81");
  CHECK(server_url("[::]:81") == "http://[::1]:81");
  CHECK(server_url("https://nano.example") == "https://nano.example:443");
  CHECK_FALSE(server_url("ftp://host:1"));
  CHECK_FALSE(server_url("http://host:1/api"));
  CHECK_FALSE(server_url(""));
  CHECK(is_local_url("http://[::1]:80"));
  CHECK_FALSE(is_local_url("http://10.0.0.1:80"));
}

TEST_CASE("events are read however the bytes are cut", "[client]") {
  const std::string text = "event: a\r\ndata: 1\ndata:2\nid: 7\n\n: comment\n\ndata: x\n\nevent: lost\ndata: y";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    EventStream stream;
    auto events = stream.take(std::string_view(text).substr(0, cut));
    for (auto& event : stream.take(std::string_view(text).substr(cut))) events.push_back(event);
    REQUIRE(events.size() == 2);
    CHECK(events[0].type == "a");
    CHECK(events[0].data == "1\n2");
    CHECK(events[0].id == "7");
    CHECK(events[1].type == "message");
    CHECK(events[1].data == "x");
  }
}

TEST_CASE("base64 is read strictly", "[client]") {
  CHECK(from_base64("") == "");
  CHECK(from_base64("AP/+") == std::string("\0\xff\xfe", 3));
  CHECK(from_base64("YQ==") == "a");
  CHECK(from_base64("YWI=") == "ab");
  for (const char* text : {"Y", "YQ=", "Y===", "YQ=a", "Y*==", "=QQQ"}) CHECK_FALSE(from_base64(text));
}

TEST_CASE("tables line up, and no cell can move the cursor", "[client]") {
  Table table({"A", "B"});
  table.add({"ü", "x\x1b[2J"});
  table.add({"long", ""});
  CHECK(table.text() == "A     B\nü     x?[2J\nlong\n");
}

TEST_CASE("progress shows stages and the layers of the one that runs", "[client]") {
  rapidjson::Document status;
  status.Parse(R"({"progress":{"stage":"pull","done_bytes":50,"total_bytes":100},"stages":[
    {"name":"resolve","status":"succeeded","duration_ms":120},
    {"name":"pull","status":"running","bytes":40,"total_bytes":100,"layers":[
      {"digest":"sha256:0123456789","done_bytes":10,"total_bytes":20}]},
    {"name":"snapshot","status":"skipped"},
    {"name":"build","status":"pending"}]})");
  const auto lines = progress_lines(status);
  REQUIRE(lines.size() == 4);
  CHECK(lines[1].done_bytes == 50);
  CHECK(lines[2].name == "  01234567");
  CHECK(lines[3].name == "build");
  for (const auto& line : lines)
    for (const std::size_t columns : {10U, 40U, 80U}) CHECK(columns_of(draw(line, columns)) <= columns);
  rapidjson::Document odd;
  odd.Parse(R"({"stages":[1,{"name":3,"status":"running","bytes":-5,"layers":[null]}]})");
  CHECK_NOTHROW(progress_lines(odd));
}

TEST_CASE("a tilde at the beginning of a line is for nanobox, elsewhere for the session", "[client]") {
  EscapeKeys keys;
  CHECK(keys.take("ls ~.\r").bytes == "ls ~.\r");
  CHECK(keys.take("~").bytes.empty());
  CHECK(keys.take("~x").bytes == "~x");
  CHECK(keys.take("\r~/bin\r").bytes == "\r~/bin\r");
  const auto explained = keys.take("~?");
  CHECK((explained.explain && explained.bytes.empty()));
  CHECK(keys.take("~\x1a").suspend);
  const auto left = keys.take("a\n~.rest");
  CHECK(left.leave);
  CHECK(left.bytes == "a\n");
  CHECK(EscapeKeys().take("~.").leave);
}

TEST_CASE("an editor's screen is left where the session ends in it, however its bytes were cut", "[client]") {
  const std::string enters = "vi\x1b[?1049h~", leaves = "\x1b[?1049l$ ";
  for (std::size_t cut = 0; cut <= enters.size(); ++cut) {
    ScreenState screen;
    screen.drawn(std::string_view(enters).substr(0, cut));
    screen.drawn(std::string_view(enters).substr(cut));
    CHECK(screen.tidy_up().starts_with("\x1b[?1049l"));
    screen.drawn(leaves);
    CHECK_FALSE(screen.tidy_up().starts_with("\x1b[?1049l"));
  }
}

TEST_CASE("a session's exit code is read from the close reason, or not at all", "[client]") {
  CHECK(exit_code_of("exit 0") == 0);
  CHECK(exit_code_of("exit 130") == 130);
  for (const char* reason : {"", "exit", "exit ", "exit x", "exit 1x", "exit -1", "exit 256", "ended"})
    CHECK_FALSE(exit_code_of(reason));
}

TEST_CASE("a terminal's path carries command, user, folder and variables", "[client]") {
  const auto path = terminal_path(
      {.sandbox_id = "sb-1", .command = {"sh", "-c", "a&b"}, .env = {{"TERM", "dumb"}}, .cwd = "/t m", .user = "node"},
      100, 30);
  CHECK(path ==
        "/api/v1/sandboxes/sb-1/terminal?cols=100&rows=30&command=sh&arg=-c&arg=a%26b&user=node&cwd=%2Ft%20m"
        "&env=TERM%3Ddumb");
}

TEST_CASE("the sides of a copy are told apart", "[client]") {
  const auto inside = read_place("sb-1:/a:b").value();
  CHECK(inside.sandbox_id == "sb-1");
  CHECK(inside.path == "/a:b");
  CHECK(read_place("sb-1:etc").value().path == "/etc");
  for (const char* here : {"./a:b", "/a:b", "a/b:c", "plain", "../x:y"})
    CHECK_FALSE(read_place(here).value().is_inside());
  CHECK(read_place("-").value().is_stream());
  CHECK(read_place("sb-1:").error().mend == "write sb-1:/path");
  CHECK_FALSE(read_place(":/a"));
  CHECK_FALSE(read_place(""));
}

TEST_CASE("paths give their names, and ask for content by a dot", "[client]") {
  CHECK(name_of("/a/b/") == "b");
  CHECK(name_of("b") == "b");
  for (const char* nameless : {"/", ".", "/a/.", "..", "a/.."}) CHECK(name_of(nameless).empty());
  CHECK(means_content("a/."));
  CHECK(means_content("a/./"));
  CHECK_FALSE(means_content("a/.b"));
  CHECK(joined("/", "a") == "/a");
  CHECK(joined("/a/", "b") == "/a/b");
  CHECK(joined("/a//", "") == "/a");
  CHECK(plain_path("/a/../../b/./c/") == "/b/c");
  CHECK(plain_path("/") == "/");
}

TEST_CASE("pairs of ports are read in each form", "[client]") {
  const auto pair = [](const char* text) {
    const auto read = read_port_pair(text).value();
    return std::pair<int, int>(read.here, read.inside);
  };
  CHECK(pair("8080:80") == std::pair(8080, 80));
  CHECK(pair("80") == std::pair(80, 80));
  CHECK(pair(":80") == std::pair(0, 80));
  CHECK(pair("0:65535") == std::pair(0, 65535));
  for (const char* wrong : {"", ":", "0", "a:1", "1:a", "1:0", "65536", "1:2:3", "-1:2"})
    CHECK(read_port_pair(wrong).error().mend.find("8080:80") != std::string::npos);
}

TEST_CASE("durations and ages are short", "[client]") {
  CHECK(duration_text(850) == "850 ms");
  CHECK(duration_text(3100) == "3.1 s");
  CHECK(duration_text(125'000) == "2m 05s");
  CHECK(age_text("").empty());
  CHECK(age_text(to_rfc3339(wall_now() - std::chrono::minutes{5})) == "5m");
  CHECK(age_text(to_rfc3339(wall_now() + std::chrono::hours{3} + std::chrono::seconds{30})) == "in 3h");
}
