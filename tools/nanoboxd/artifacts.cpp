#include "tools/nanoboxd/artifacts.hpp"

#include <algorithm>
#include <condition_variable>
#include <list>
#include <mutex>
#include <set>

#include "actors/disk_keeper.hpp"
#include "actors/template_snapshot.hpp"
#include "config/log.hpp"
#include "pipeline/boot/snapshot/snapshot_store.hpp"
#include "pipeline/cluster/artifact/fetch_artifact.hpp"
#include "pipeline/cluster/artifact/open_artifact.hpp"
#include "pipeline/cluster/artifact/serve_artifacts.hpp"
#include "pipeline/cluster/identity/tls_stream.hpp"
#include "pipeline/cluster/lineage/lineage_artifacts.hpp"
#include "pipeline/warmup/rootfs/rootfs_cache.hpp"

namespace nanobox {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kProtocol = "nanobox-artifact";
constexpr std::size_t kAtOnce = 8;
constexpr std::chrono::seconds kConnect{10};
constexpr StreamLimits kLimits{.idle = std::chrono::seconds(30)};

std::vector<std::string> root_files(const std::string& identity) {
  return {identity + ".ext4", identity + ".json"};
}

/// Beside what they are of: manifests of artifacts, so that their files are not read again for each node.
fs::path chunks_of_root(const fs::path& folder, const std::string& identity) {
  return folder / (identity + ".chunks");
}

/// Where an artifact's files are on this node, and the cache of its manifest.
struct Place {
  std::vector<ArtifactPath> files;
  fs::path chunks;
};

Result<Place> place_on(const Services& services, const std::string& name) {
  std::error_code error;
  if (const auto of = lineage_place(name, lineage_folders(services))) {
    Place place{.files = {}, .chunks = of->folder / kManifestCache};
    for (const auto& file : of->files)
      if (fs::exists(of->folder / file, error)) place.files.push_back({.name = file, .path = of->folder / file});
    if (!place.files.empty()) return place;
  } else if (find_rootfs(services.cache.rootfs, name)) {
    Place place{.files = {}, .chunks = chunks_of_root(services.cache.rootfs, name)};
    for (const auto& file : root_files(name))
      place.files.push_back({.name = file, .path = services.cache.rootfs / file});
    return place;
  }
  return fail({.code = ErrorCode::artifact_missing,
               .attempted = "give away artifact",
               .subject = name,
               .reason = "it is not on this node",
               .mend = ""});
}

/// A snapshot that comes here, or goes from here.
void note_travels(const Services& services, const std::string& name) {
  const auto place = lineage_place(name, lineage_folders(services));
  if (place && name.starts_with("snapshot.")) note_shared(place->folder.parent_path());
}

/// What this node has: the roots of its templates, by identity, and what its sandboxes and snapshots are.
class NodeArtifacts final : public ArtifactCatalogue {
public:
  explicit NodeArtifacts(SharedServices services) : services_(std::move(services)) {}

  Result<OpenArtifact> open(const std::string&, const std::string& name, const ScanProgress& progress) const override {
    const auto place = NANOBOX_TRY(place_on(*services_, name));
    note_travels(*services_, name);
    return open_artifact(name, place.files, place.chunks, progress);
  }

private:
  SharedServices services_;
};

class Port final : public ArtifactPort {
public:
  Port(TcpListener listener, SharedServices services, std::function<NodeIdentity()> identity)
      : listener_(std::move(listener)), artifacts_(std::move(services)), identity_(std::move(identity)) {
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
        log_warn(LogComponent::cluster, {}, "{}", describe(accepted.error()));
        continue;
      }
      if (auto served = serve(std::move(*accepted)); !served)
        log_debug(LogComponent::cluster, {}, "{}", describe(served.error()));
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
      return serve_artifacts(*stream, artifacts_);
    }();
    const std::lock_guard lock(mutex_);
    std::erase(streams_, stream.get());
    return conversed;
  }

  TcpListener listener_;
  const NodeArtifacts artifacts_;
  const std::function<NodeIdentity()> identity_;
  std::mutex mutex_;
  std::vector<TlsStream*> streams_;  ///< guarded
  bool stopping_ = false;            ///< guarded
  std::vector<std::jthread> threads_;
};

Error nobody_has(const std::string& name) {
  return {.code = ErrorCode::artifact_missing,
          .attempted = "fetch artifact",
          .subject = name,
          .reason = "no node that has it can be reached",
          .mend = "GET /api/v1/nodes shows how they fare; of a template: warm it up again",
          .transient = true};
}

/// To its place, whole or not at all. @returns bytes that came
Result<std::uint64_t> fetch_into_place(const Services& services, ByteStream& stream, const std::string& name) {
  FetchRequest request{.ticket = "-", .name = name, .tmp_folder = {}, .destination = {}};
  const auto place = lineage_place(name, lineage_folders(services));
  std::optional<HalfFolder> half;
  std::error_code error;
  if (!place) {
    request.tmp_folder = services.cache.rootfs / ".tmp";
    request.destination = services.cache.rootfs;
    request.files = root_files(name);
  } else if (place->is_folder) {
    half.emplace(NANOBOX_TRY(services.snapshots->begin()));
    request.tmp_folder = half->path().parent_path();
    request.destination = half->path();
  } else {
    fs::create_directories(place->folder, error);
    if (error) return fail(errno_error(error.value(), "make folder", place->folder));
    request.tmp_folder = request.destination = place->folder;
    request.files = place->files;
  }
  const auto fetched = NANOBOX_TRY(fetch_artifact(stream, request));
  if (place)
    for (const auto& file : fetched.manifest.files)
      if (std::ranges::find(place->files, file.name) == place->files.end())
        return fail({.code = ErrorCode::peer_untrusted,
                     .attempted = "fetch artifact",
                     .subject = name,
                     .reason = "it came with a file '" + file.name + "', which it cannot have",
                     .mend = ""});
  if (half) NANOBOX_TRY(services.snapshots->publish(std::move(*half), place->folder, true));
  note_travels(services, name);
  // Another node may get it from here without its being read once more.
  const auto here = NANOBOX_TRY(place_on(services, name));
  if (auto noted = remember_manifest(fetched.manifest, here.files, here.chunks); !noted)
    log_warn(LogComponent::cluster, {}, "{}", describe(noted.error()));
  return fetched.received_bytes;
}

Result<std::uint64_t> fetch_from(const Services& services, const NodeIdentity& identity, const std::string& name,
                                 const ListenAddress& source) {
  const auto context = NANOBOX_TRY(TlsContext::mutual_client(identity, std::string(kProtocol)));
  const auto deadline = std::chrono::steady_clock::now() + kConnect;
  const auto stream = NANOBOX_TRY(tls_connect(source, context, deadline, {}, kLimits));
  return fetch_into_place(services, *stream, name);
}

/// What one node fetches from others; two that want the same get it once.
class Fetcher {
public:
  Fetcher(std::function<NodeIdentity()> identity, std::string control_host)
      : identity_(std::move(identity)), control_host_(std::move(control_host)) {}

  Result<ArtifactOrigin> fetch(const Services& services, const std::string& name,
                               const std::vector<std::string>& sources) {
    std::unique_lock lock(mutex_);
    over_.wait(lock, [&] { return fetching_.insert(name).second; });
    lock.unlock();
    auto origin = fetch_from_any(services, name, sources);
    lock.lock();
    fetching_.erase(name);
    over_.notify_all();
    return origin;
  }

private:
  Result<ArtifactOrigin> fetch_from_any(const Services& services, const std::string& name,
                                        const std::vector<std::string>& sources) const {
    if (place_on(services, name)) return ArtifactOrigin{};
    auto failure = nobody_has(name);
    for (const auto& text : sources) {
      auto parsed = parse_listen_address(text);
      if (!parsed) continue;
      auto& source = *parsed;
      if (source.host == "0.0.0.0") source.host = control_host_;
      const auto bytes = fetch_from(services, identity_(), name, source);
      if (bytes) return ArtifactOrigin{.source = to_string(source), .bytes = *bytes};
      // That a node does not have it says less than why another did not give it.
      if (bytes.error().code != ErrorCode::artifact_missing) {
        log_warn(LogComponent::cluster, {}, "{}", describe(bytes.error()));
        failure = bytes.error();
      }
      failure.transient = true;
    }
    return fail(failure);
  }

  const std::function<NodeIdentity()> identity_;
  const std::string control_host_;
  std::mutex mutex_;
  std::condition_variable over_;
  std::set<std::string> fetching_;  ///< guarded
};

}  // namespace

Result<std::unique_ptr<ArtifactPort>> ArtifactPort::open(const ListenAddress& address, SharedServices services,
                                                         std::function<NodeIdentity()> identity) {
  return std::make_unique<Port>(NANOBOX_TRY(TcpListener::bind(address)), std::move(services), std::move(identity));
}

FetchArtifact fetch_over_tls(std::function<NodeIdentity()> identity, std::string control_host) {
  const auto fetcher = std::make_shared<Fetcher>(std::move(identity), std::move(control_host));
  return [fetcher](const Services& services, const std::string& name, const std::vector<std::string>& sources) {
    return fetcher->fetch(services, name, sources);
  };
}

}  // namespace nanobox
