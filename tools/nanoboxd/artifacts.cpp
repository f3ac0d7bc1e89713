#include "tools/nanoboxd/artifacts.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <list>
#include <mutex>

#include "pipeline/cluster/artifact/fetch_artifact.hpp"
#include "pipeline/cluster/artifact/open_artifact.hpp"
#include "pipeline/cluster/artifact/serve_artifacts.hpp"
#include "pipeline/cluster/identity/tls_stream.hpp"
#include "pipeline/warmup/rootfs/rootfs_cache.hpp"

namespace nanobox {

namespace {

constexpr std::string_view kProtocol = "nanobox-artifact";
constexpr std::size_t kAtOnce = 8;
constexpr std::chrono::seconds kConnect{10};
constexpr StreamLimits kLimits{.idle = std::chrono::seconds(30)};

std::vector<std::string> root_files(const std::string& identity) {
  return {identity + ".ext4", identity + ".json"};
}

/// The roots of this node's templates, by identity.
class Roots final : public ArtifactCatalogue {
public:
  explicit Roots(std::filesystem::path folder) : folder_(std::move(folder)) {}

  Result<OpenArtifact> open(const std::string&, const std::string& name, const ScanProgress& progress) const override {
    if (!find_rootfs(folder_, name))
      return fail({.code = ErrorCode::artifact_missing,
                   .attempted = "give away root",
                   .subject = name,
                   .reason = "it is not on this node",
                   .mend = ""});
    std::vector<ArtifactPath> files;
    for (const auto& file : root_files(name)) files.push_back({.name = file, .path = folder_ / file});
    return open_artifact(name, files, folder_ / (name + ".chunks"), progress);
  }

private:
  std::filesystem::path folder_;
};

class Port final : public ArtifactPort {
public:
  Port(TcpListener listener, SharedServices services, std::function<NodeIdentity()> identity)
      : listener_(std::move(listener)), roots_(services->cache.rootfs), identity_(std::move(identity)) {
    for (std::size_t i = 0; i < kAtOnce; ++i) threads_.emplace_back([this] { work(); });
  }
  ~Port() override {
    listener_.wake();
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (auto* stream : streams_) stream->cut();
  }
  const ListenAddress& address() const override { return listener_.address(); }

private:
  void work() {
    for (;;) {
      auto accepted = listener_.accept();
      if (!accepted) {
        if (accepted.error().code == ErrorCode::cancelled) return;
        spdlog::warn("{}", describe(accepted.error()));
        continue;
      }
      if (auto served = serve(std::move(*accepted)); !served) spdlog::debug("{}", describe(served.error()));
    }
  }

  Result<void> serve(TcpAccepted accepted) {
    const auto context = NANOBOX_TRY(TlsContext::mutual_server(identity_(), {std::string(kProtocol)}));
    const auto stream = NANOBOX_TRY(TlsStream::over(std::move(accepted.socket), context, accepted.peer, kLimits));
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return {};
      streams_.push_back(stream.get());
    }
    const auto conversed = [&]() -> Result<void> {
      NANOBOX_TRY(stream->handshake());
      return serve_artifacts(*stream, roots_);
    }();
    const std::lock_guard lock(mutex_);
    std::erase(streams_, stream.get());
    return conversed;
  }

  TcpListener listener_;
  const Roots roots_;
  const std::function<NodeIdentity()> identity_;
  std::mutex mutex_;
  std::vector<TlsStream*> streams_;  ///< guarded
  bool stopping_ = false;            ///< guarded
  std::vector<std::jthread> threads_;
};

Error nobody_has(const TemplateOffer& offer) {
  return {.code = ErrorCode::artifact_missing,
          .attempted = "fetch template",
          .subject = offer.entry.name,
          .reason = "no node that has it can be reached",
          .mend = "GET /api/v1/nodes shows how they fare; or warm it up again",
          .transient = true};
}

Result<std::uint64_t> fetch_root(const Services& services, const NodeIdentity& identity, const std::string& root,
                                 const ListenAddress& source) {
  const auto context = NANOBOX_TRY(TlsContext::mutual_client(identity, std::string(kProtocol)));
  const auto deadline = std::chrono::steady_clock::now() + kConnect;
  const auto stream = NANOBOX_TRY(tls_connect(source, context, deadline, {}, kLimits));
  const auto& folder = services.cache.rootfs;
  const auto fetched = NANOBOX_TRY(fetch_artifact(
      *stream,
      {.ticket = "-", .name = root, .tmp_folder = folder / ".tmp", .destination = folder, .files = root_files(root)}));
  std::vector<ArtifactPath> files;
  for (const auto& file : root_files(root)) files.push_back({.name = file, .path = folder / file});
  // Another node may get it from here without its being read once more.
  if (auto noted = remember_manifest(fetched.manifest, files, folder / (root + ".chunks")); !noted)
    spdlog::warn("{}", describe(noted.error()));
  return fetched.received_bytes;
}

}  // namespace

Result<std::unique_ptr<ArtifactPort>> ArtifactPort::open(const ListenAddress& address, SharedServices services,
                                                         std::function<NodeIdentity()> identity) {
  return std::make_unique<Port>(NANOBOX_TRY(TcpListener::bind(address)), std::move(services), std::move(identity));
}

FetchTemplate fetch_over_tls(std::function<NodeIdentity()> identity, std::string control_host) {
  return [identity, control_host](const Services& services, const TemplateOffer& offer) -> Result<FetchedTemplate> {
    FetchedTemplate fetched{.entry = offer.entry, .source = "this node's cache", .bytes = 0};
    const auto& root = offer.entry.rootfs.identity;
    auto here = find_rootfs(services.cache.rootfs, root);
    auto failure = nobody_has(offer);
    for (const auto& text : offer.sources) {
      if (here) break;
      auto source = NANOBOX_TRY(parse_listen_address(text));
      if (source.host == "0.0.0.0") source.host = control_host;
      const auto bytes = fetch_root(services, identity(), root, source);
      if (!bytes) {
        spdlog::warn("{}", describe(bytes.error()));
        failure = bytes.error();
        failure.transient = true;
        continue;
      }
      fetched.bytes = *bytes;
      fetched.source = to_string(source);
      here = find_rootfs(services.cache.rootfs, root);
    }
    if (!here) return fail(failure);
    fetched.entry.rootfs = std::move(*here);
    return fetched;
  };
}

}  // namespace nanobox
