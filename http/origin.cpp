#include "http/origin.hpp"

#include "http/transport/header_list.hpp"

namespace nanobox::http {
namespace {

// Without the port that goes without saying.
std::string_view authority(std::string_view host, std::string_view default_port) {
  if (host.ends_with(default_port)) host.remove_suffix(default_port.size());
  return host;
}

}  // namespace

bool is_same_origin(const Request& request) {
  const auto given = request.header("origin");
  if (!given) return true;
  const auto origin = transport::lower(*given);
  const auto host = transport::lower(request.header("host").value_or(""));
  for (const auto& [scheme, port] : {std::pair("http://", ":80"), std::pair("https://", ":443")})
    if (origin.starts_with(scheme))
      return authority(std::string_view(origin).substr(std::string_view(scheme).size()), port) == authority(host, port);
  return false;
}

}  // namespace nanobox::http
