#include <catch2/catch.hpp>

#include "config/utf8.hpp"
#include "http/json/document.hpp"
#include "http/json/reader.hpp"
#include "http/json/text.hpp"
#include "http/json/writer.hpp"

namespace nanobox::test {
namespace {

using namespace http::json;

ErrorCode parse_error(std::string_view text) {
  const auto parsed = parse(text);
  return parsed ? ErrorCode::none_reserved : parsed.error().code;
}

struct Resources {
  std::optional<std::int64_t> vcpu;
};

Result<Resources> read_sandbox(std::string_view text) {
  const auto document = NANOBOX_TRY(parse(text));
  Complaints complaints;
  ObjectReader reader(document, complaints);
  Resources result;
  reader.required_text("template");
  reader.object("resources", [&](ObjectReader& inner) { result.vcpu = inner.integer("vcpu", 1, 32); });
  reader.text_map("env", 2);
  reader.texts("args", 3);
  reader.choice("boot", {"auto", "cold"});
  reader.boolean("snapshot");
  reader.finish();
  NANOBOX_TRY(complaints.result());
  return result;
}

}  // namespace

TEST_CASE("JSON that is none is refused, whatever RapidJSON thinks", "[http][json]") {
  for (const std::string_view text :
       {"", "{", "{} x", "{'a':1}", "{\"a\":1,}", "[1,]", "NaN", "1e400", "\"\xff\"", "\"\\ud800\"", "nul",
        "{\"a\":1,\"a\":2}", "{\"x\":{\"b\":1,\"c\":2,\"b\":3}}", "[[{\"k\":1,\"k\":1}]]", "{\"a\\u0062\":1,\"ab\":2}",
        "\"\xed\xa0\x80\"", "// x\n1"}) {
    INFO(text);
    CHECK(parse_error(text) == ErrorCode::malformed_json);
  }
  CHECK(parse(R"({"a":[1,2.5,"x",null,true]})"));
}

TEST_CASE("deep JSON is refused before anything is built of it", "[http][json]") {
  CHECK(parse(std::string(64, '[') + std::string(64, ']')));
  CHECK(parse_error(std::string(65, '[') + std::string(65, ']')) == ErrorCode::malformed_json);
  CHECK(parse_error(std::string(5'000'000, '[')) == ErrorCode::malformed_json);
  CHECK(parse("\"" + std::string(1000, '[') + "\""));
}

TEST_CASE("a body must be an uncompressed JSON object", "[http][json]") {
  http::Request request;
  CHECK(parse_body(request)->ObjectEmpty());
  request.body = "{}";
  CHECK(parse_body(request));
  request.headers = {{"content-type", "application/json; charset=utf-8"}};
  CHECK(parse_body(request));
  request.headers = {{"content-type", "application/x-www-form-urlencoded"}};
  CHECK(parse_body(request).error().code == ErrorCode::unsupported_media_type);
  request.headers = {{"content-encoding", "gzip"}};
  CHECK(parse_body(request).error().code == ErrorCode::unsupported_media_type);
  request.headers = {};
  request.body = "[]";
  CHECK(parse_body(request).error().code == ErrorCode::wrong_type);
}

TEST_CASE("fields of the wrong form are 400, wrong values 422, all of them named", "[http][json]") {
  CHECK(read_sandbox(R"({"template":"t","resources":{"vcpu":32}})")->vcpu == 32);
  CHECK_FALSE(read_sandbox(R"({"template":"t","resources":null})")->vcpu);
  const auto error_of = [](std::string_view text) { return read_sandbox(text).error(); };
  auto error = error_of(R"({"template":"t","resources":{"vcpu":33}})");
  CHECK(error.code == ErrorCode::invalid_value);
  CHECK(error.fields.front().pointer == "/resources/vcpu");
  CHECK(error.fields.front().detail == "must be 1 to 32");
  error = error_of(R"({"template":"t","resources":{"vcpus":3}})");
  CHECK(error.code == ErrorCode::unknown_field);
  CHECK(error.fields.front().pointer == "/resources/vcpus");
  CHECK(error.fields.front().detail == "is unknown; did you mean 'vcpu'?");
  CHECK(error_of("{}").code == ErrorCode::missing_field);
  CHECK(error_of(R"({"template":7})").code == ErrorCode::wrong_type);
  CHECK(error_of(R"({"template":"t","resources":[]})").code == ErrorCode::wrong_type);
  CHECK(error_of(R"({"template":"t","resources":{"vcpu":1.5}})").code == ErrorCode::wrong_type);
  CHECK(error_of(R"({"template":"t","resources":{"vcpu":"1"}})").code == ErrorCode::wrong_type);
  CHECK(error_of(R"({"template":"t","resources":{"vcpu":18446744073709551616}})").code == ErrorCode::invalid_value);
  CHECK(error_of(R"({"template":"t","boot":"hot"})").code == ErrorCode::invalid_value);
  CHECK(error_of(R"({"template":"t","snapshot":1})").code == ErrorCode::wrong_type);
  CHECK(error_of(R"({"template":"a\u0000b"})").code == ErrorCode::invalid_value);
  CHECK(error_of(R"({"template":"t","args":["a",1]})").fields.front().pointer == "/args/1");
  CHECK(error_of(R"({"template":"t","env":{"a/b~":1}})").fields.front().pointer == "/env/a~1b~0");
  CHECK(error_of(R"({"template":"t","env":{"a":"","b":"","c":""}})").code == ErrorCode::invalid_value);
  error = error_of(R"({"template":"","resources":{"vcpu":0},"x":1})");
  CHECK(error.code == ErrorCode::unknown_field);
  CHECK(error.fields.size() == 3);
}

TEST_CASE("a thousand unknown fields do not make a huge answer", "[http][json]") {
  std::string text = R"({"template":"t")";
  for (int i = 0; i < 1000; ++i) text += ",\"field" + std::to_string(i) + "\":1";
  CHECK(read_sandbox(text + "}").error().fields.size() <= 32);
}

TEST_CASE("what is written is always JSON", "[http][json]") {
  Writer out;
  out.begin_object()
      .field("text", "a\"\n\x01")
      .field("broken", std::string_view("a\xff\xc3", 3))
      .field("nul", std::string_view("a\0b", 3))
      .field("infinite", 1.0 / 0.0)
      .field("large", std::uint64_t{18446744073709551615U})
      .field("none", std::optional<std::string>())
      .raw_field("inner", "{\"a\":1}")
      .end_object();
  const auto parsed = parse(out.take());
  REQUIRE(parsed);
  CHECK((*parsed)["broken"].GetString() == std::string("a\xef\xbf\xbd\xef\xbf\xbd"));
  CHECK((*parsed)["nul"].GetStringLength() == 3);
  CHECK((*parsed)["infinite"].IsNull());
  CHECK((*parsed)["large"].GetUint64() == 18446744073709551615U);
  CHECK((*parsed)["inner"]["a"].GetInt() == 1);
}

TEST_CASE("UTF-8 is told from other bytes", "[http][json]") {
  for (const std::string_view good : {"", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"})
    CHECK(is_utf8(good));
  for (const std::string_view bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                     "\xf5\x80\x80\x80", "\xe2\x82", "\xc3"})
    CHECK_FALSE(is_utf8(bad));
  CHECK(encode_bytes("ok").encoding == "utf-8");
  const auto encoded = encode_bytes("\xff\x00");
  CHECK(encoded.encoding == "base64");
  CHECK(encoded.text == "/w==");
}

TEST_CASE("base64 goes there and back, and only in one form", "[http][json]") {
  for (std::size_t size = 0; size < 70; ++size) {
    std::string bytes;
    for (std::size_t i = 0; i < size; ++i) bytes += static_cast<char>(i * 37 + size);
    CHECK(from_base64(to_base64(bytes)) == bytes);
  }
  CHECK(to_base64("foob") == "Zm9vYg==");
  for (const std::string_view bad : {"Zg", "Zg=", "Zh==", "====", "Z===", "Zg==Zg==", "Zm9v ", "Zm9-"})
    CHECK_FALSE(from_base64(bad));
}

}  // namespace nanobox::test
