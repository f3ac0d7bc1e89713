#include "real_registry.hpp"

#include <curl/curl.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <memory>
#include <stdexcept>

#include "config/sha256.hpp"

namespace nanobox {

namespace {

constexpr const char* kHtpasswd = "web:$2b$04$wuOSJIreeAopRz18IA.rRuty9J7PdcjrOrzT2/fDZ6h2sEtSJjg8K\n";  // s3cret

std::uint16_t port_in(const std::string& log) {
  constexpr std::string_view mark = "listening on 127.0.0.1:";
  const auto at = log.find(mark);
  if (at == std::string::npos) return 0;
  const auto end = log.find_first_not_of("0123456789", at + mark.size());
  return end == std::string::npos ? std::uint16_t{0}
                                  : static_cast<std::uint16_t>(std::stoul(log.substr(at + mark.size())));
}

std::size_t take_header(char* data, std::size_t size, std::size_t count, void* user) {
  std::string line(data, size * count);  // HTTP/2 has names in lower case
  constexpr std::string_view name = "ocation: ";
  if (line.size() > name.size() && line.compare(1, name.size(), name) == 0)
    *static_cast<std::string*>(user) = line.substr(name.size() + 1, line.find('\r') - name.size() - 1);
  return size * count;
}

std::size_t drop_body(char*, std::size_t size, std::size_t count, void*) {
  return size * count;
}

}  // namespace

RealRegistry::RealRegistry(Options options) : options_(options) {
  std::string config =
      "version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: " + data().string() + "}}\n";
  if (options.password) {
    write_file(folder_ / "htpasswd", kHtpasswd);
    config += "auth: {htpasswd: {realm: test, path: " + (folder_ / "htpasswd").string() + "}}\n";
  }
  config += "http: {addr: \"127.0.0.1:0\"";
  if (options.tls) {
    const auto made = run_command(
        {.program = "openssl",
         .arguments = {"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                       "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout",
                       (folder_ / "key.pem").string(), "-out", ca_file().string()},
         .env = std::nullopt,
         .descriptors = {}},
        std::chrono::seconds(20));
    if (!made || !made->exit.succeeded()) throw std::runtime_error("openssl made no certificate");
    config += ", tls: {certificate: " + ca_file().string() + ", key: " + (folder_ / "key.pem").string() + "}";
  }
  config += "}\n";
  write_file(folder_ / "config.yml", config);

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  log_.reset(ends[0]);
  const UniqueFd write_end(ends[1]);
  auto started = ChildProcess::spawn(
      {.program = "docker-registry",
       .arguments = {"serve", (folder_ / "config.yml").string()},
       .env = std::nullopt,
       .descriptors = {{.source = write_end.get(), .target = 1}, {.source = write_end.get(), .target = 2}}});
  if (!started) throw std::runtime_error(describe(started.error()));
  process_.emplace(std::move(*started));
  for (std::string log; port_ == 0;) {
    pollfd ready{.fd = log_.get(), .events = POLLIN, .revents = 0};
    char buffer[4096];
    const auto got = ::poll(&ready, 1, 20'000) == 1 ? ::read(log_.get(), buffer, sizeof buffer) : 0;
    if (got <= 0) throw std::runtime_error("docker-registry does not start: " + log);
    log.append(buffer, static_cast<std::size_t>(got));
    port_ = port_in(log);
  }
  ::fcntl(log_.get(), F_SETPIPE_SZ, 1 << 20);  // nobody reads on: room for what it says later
}

std::string RealRegistry::send(const std::string& method, const std::string& url, const std::string& type,
                               const std::string& body) {
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> easy(curl_easy_init(), &curl_easy_cleanup);
  const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(
      curl_slist_append(nullptr, ("Content-Type: " + type).c_str()), &curl_slist_free_all);
  std::string location;
  curl_easy_setopt(easy.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy.get(), CURLOPT_CUSTOMREQUEST, method.c_str());
  curl_easy_setopt(easy.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(easy.get(), CURLOPT_POSTFIELDS, body.data());
  curl_easy_setopt(easy.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(easy.get(), CURLOPT_HEADERFUNCTION, &take_header);
  curl_easy_setopt(easy.get(), CURLOPT_HEADERDATA, &location);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, &drop_body);
  curl_easy_setopt(easy.get(), CURLOPT_NOSIGNAL, 1L);
  if (options_.password) curl_easy_setopt(easy.get(), CURLOPT_USERPWD, "web:s3cret");
  if (options_.tls) curl_easy_setopt(easy.get(), CURLOPT_CAINFO, ca_file().c_str());
  const auto outcome = curl_easy_perform(easy.get());
  long status = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
  if (outcome != CURLE_OK || status / 100 != 2)
    throw std::runtime_error("push: " + url + ": " + curl_easy_strerror(outcome) + ", status " +
                             std::to_string(status));
  return location;
}

void RealRegistry::put_blob(const std::string& repository, const std::string& bytes) {
  const auto base = std::string(options_.tls ? "https://" : "http://") + host() + "/v2/" + repository;
  const auto location = send("POST", base + "/blobs/uploads/", "application/octet-stream", "");
  send("PUT", location + (location.find('?') == std::string::npos ? "?" : "&") + "digest=" + digest_of(bytes),
       "application/octet-stream", bytes);
}

void RealRegistry::put_manifest(const std::string& repository, const std::string& reference, const std::string& type,
                                const std::string& bytes) {
  send("PUT",
       std::string(options_.tls ? "https://" : "http://") + host() + "/v2/" + repository + "/manifests/" + reference,
       type, bytes);
}

void RealRegistry::push(const TestImage& image, const std::string& repository, const std::string& tag) {
  for (const auto& layer : image.layers) put_blob(repository, layer);
  put_blob(repository, image.config);
  put_manifest(repository, tag, "application/vnd.oci.image.manifest.v1+json", image.manifest);
}

void RealRegistry::push_index(const std::string& index, const std::string& repository, const std::string& tag) {
  put_manifest(repository, tag, "application/vnd.oci.image.index.v1+json", index);
}

}  // namespace nanobox
