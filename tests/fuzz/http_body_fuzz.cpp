// JSON bodies: whatever the bytes, parsing ends in a document or an error, and what is read is written as JSON again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "http/json/document.hpp"
#include "http/json/reader.hpp"
#include "http/json/writer.hpp"
#include "http/pagination.hpp"
#include "http/problem.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nanobox::http;
  Request request;
  request.body.assign(reinterpret_cast<const char*>(data), size);
  request.query_parameters = {{"cursor", request.body}};
  (void)read_page(request);
  const auto document = json::parse_body(request);
  if (!document) {
    if (!json::parse(problem_json(document.error(), "/x", "rq"))) std::abort();
    return 0;
  }
  json::Complaints complaints;
  json::ObjectReader reader(*document, complaints);
  json::Writer out;
  out.begin_object();
  out.field("template", reader.required_text("template"));
  out.field("stdin", reader.text("stdin", {.max_bytes = 1 << 16, .allow_nul = true}));
  out.field("boot", reader.choice("boot", {"auto", "cold"}));
  reader.object("resources", [&](json::ObjectReader& inner) {
    out.field("vcpu", inner.integer("vcpu", 1, 32));
    out.field("share", inner.number("share", 0, 1));
  });
  out.field("snapshot", reader.boolean("snapshot"));
  if (const auto args = reader.texts("args", 100))
    for (const auto& each : *args) out.field("arg", each);
  if (const auto env = reader.text_map("env", 100))
    for (const auto& [name, value] : *env) out.key(name).value(value);
  out.end_object();
  reader.finish();
  rapidjson::Document again;
  const auto text = out.take();
  if (again.Parse<rapidjson::kParseValidateEncodingFlag>(text.data(), text.size()).HasParseError()) std::abort();
  if (const auto wrong = complaints.result(); !wrong && !json::parse(problem_json(wrong.error()))) std::abort();
  return 0;
}
