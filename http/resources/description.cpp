#include "http/resources/description.hpp"

#include "http/json/writer.hpp"
#include "http/resources/api.hpp"

extern "C" const char nanobox_embedded_description[];
extern "C" const char nanobox_embedded_description_end[];

namespace nanobox::http {

namespace {
constexpr std::string_view kNoVersion = R"("version": "0")";
}

std::string api_description(std::string_view version) {
  std::string text(nanobox_embedded_description, nanobox_embedded_description_end);
  json::Writer quoted;
  quoted.value(version);
  if (const auto at = text.find(kNoVersion); at != std::string::npos)
    text.replace(at, kNoVersion.size(), "\"version\": " + quoted.take());
  return text;
}

void add_description_route(Router& router, Api& api) {
  router.add(Method::get, "/openapi.json",
             [text = api_description(api.version)](Request, Responder responder) { responder.send(200, text); },
             {.needs_key = false});
}

}  // namespace nanobox::http
