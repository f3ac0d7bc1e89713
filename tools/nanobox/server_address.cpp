#include "tools/nanobox/server_address.hpp"

#include <fstream>
#include <iterator>

#include "config/data_folder.hpp"
#include "config/listen_address.hpp"
#include "tools/nanobox/private_server.hpp"

namespace nanobox::cli {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kDefaultUrl = "http://127.0.0.1:8080";

std::string trimmed_file(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::string text{std::istreambuf_iterator<char>(stream), {}};
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

std::string_view host_and_port(std::string_view url) {
  const auto scheme = url.find("://");
  if (scheme != std::string_view::npos) url.remove_prefix(scheme + 3);
  return url.substr(0, url.find('/'));
}

std::string key_for(const std::string& url, const std::filesystem::path& data, const Environment& environment) {
  if (const auto key = environment.find("NANOBOX_KEY"); key != environment.end() && !key->second.empty())
    return key->second;
  return is_local_url(url) ? trimmed_file(admin_key_file(data)) : "";
}

/// A NanoBox answers /healthz with a request id; something else on that port does not.
Result<void> probe(const ServerAddress& server, Interruption& interruption) {
  ApiClient client(server, &interruption);
  const auto answer = NANOBOX_TRY(client.send({.method = "GET", .path = "/healthz", .body = "", .patience = 5s}));
  if (answer.status == 200 && !answer.request_id.empty()) return {};
  return fail({.code = ErrorCode::io_failed,
               .attempted = "ask the server at",
               .subject = server.url,
               .reason = "what answers there is no NanoBox server",
               .mend = "name another one with --server"});
}

Result<FoundServer> named_server(const std::string& text, const std::filesystem::path& data,
                                 const Environment& environment, Interruption& interruption) {
  const auto url = server_url(text);
  if (!url)
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "find server",
                 .subject = text,
                 .reason = "it is no address",
                 .mend = "write http://HOST:PORT"});
  FoundServer found{.address = {.url = *url, .key = key_for(*url, data, environment)}, .own = nullptr};
  NANOBOX_TRY(probe(found.address, interruption));
  return found;
}

}  // namespace

std::optional<std::string> server_url(std::string_view text) {
  while (!text.empty() && (text.back() == '/' || text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  const auto scheme_end = text.find("://");
  const std::string scheme(scheme_end == std::string_view::npos ? "http" : text.substr(0, scheme_end));
  if (scheme != "http" && scheme != "https") return std::nullopt;
  const auto rest = scheme_end == std::string_view::npos ? text : text.substr(scheme_end + 3);
  if (rest.empty() || rest.find_first_of("/?#@ ") != std::string_view::npos) return std::nullopt;
  auto address = parse_listen_address(rest);
  if (!address) address = parse_listen_address(std::string(rest) + (scheme == "https" ? ":443" : ":80"));
  if (!address || address->port == 0) return std::nullopt;
  if (address->host == "0.0.0.0") address->host = "127.0.0.1";
  if (address->host == "::") address->host = "::1";
  return scheme + "://" + to_string(*address);
}

bool is_local_url(std::string_view url) {
  const auto address = parse_listen_address(host_and_port(url));
  return address && is_loopback(*address);
}

Result<FoundServer> find_server(const ServerSearch& search, const Environment& environment,
                                Interruption& interruption) {
  const auto data = NANOBOX_TRY(find_data_folder(environment));
  if (search.named) return named_server(*search.named, data, environment, interruption);
  if (const auto named = environment.find("NANOBOX_SERVER"); named != environment.end() && !named->second.empty())
    return named_server(named->second, data, environment, interruption);

  if (const auto url = server_url(trimmed_file(address_file(data)))) {
    FoundServer found{.address = {.url = *url, .key = key_for(*url, data, environment)}, .own = nullptr};
    if (probe(found.address, interruption)) return found;
  }
  if (auto own = NANOBOX_TRY(PrivateServer::join(data, interruption))) {
    auto address = own->address();
    return FoundServer{.address = std::move(address), .own = std::make_shared<PrivateServer>(std::move(*own))};
  }
  FoundServer usual{.address = {.url = std::string(kDefaultUrl), .key = ""}, .own = nullptr};
  usual.address.key = key_for(usual.address.url, data, environment);
  if (probe(usual.address, interruption)) return usual;
  if (search.may_start) {
    auto own = NANOBOX_TRY(PrivateServer::join_or_start(data, environment, interruption));
    auto address = own.address();
    return FoundServer{.address = std::move(address), .own = std::make_shared<PrivateServer>(std::move(own))};
  }
  return fail({.code = ErrorCode::io_failed,
               .attempted = "find server",
               .subject = "",
               .reason = "none answers, neither at the address in " + address_file(data).string() + " nor at " +
                         std::string(kDefaultUrl),
               .mend = "start nanoboxd, or name a server with --server; 'nanobox run' starts one for itself"});
}

}  // namespace nanobox::cli
