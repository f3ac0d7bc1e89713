#include "pipeline/warmup/source/pull.hpp"

#include <catch2/catch.hpp>

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <semaphore>
#include <thread>

#include "pulling.hpp"
#include "scripted_server.hpp"

namespace nanobox {
namespace {

using Request = ScriptedServer::Request;
using Reply = ScriptedServer::Reply;

bool is_blob_of(const Request& request, const std::string& digest) {
  return request.path.ends_with("/blobs/" + digest);
}

TEST_CASE_METHOD(Puller, "a layer that is cut off is gone on with where it stopped", "[pull]") {
  const auto image = make_image({noise(3'000'000, 1)});
  std::atomic<int> cuts = 0;
  ScriptedServer registry([&](const Request& request) -> Reply {
    auto reply = serve_image(image, request);
    if (is_blob_of(request, image.layer_digests()[0]) && cuts++ < 2) reply.cut_after = 1'200'000;
    return reply;
  });
  const auto pulling = pull(registry.host() + "/app");
  INFO((pulling ? "" : describe(pulling.error())));
  REQUIRE(pulling);
  CHECK(bytes_of(*pulling->layers[0]) == image.layers[0]);
  std::vector<std::string> ranges;
  for (const auto& request : registry.requests())
    if (is_blob_of(request, image.layer_digests()[0])) ranges.push_back(request.header("range"));
  CHECK(ranges == std::vector<std::string>{"", "bytes=1200000-", "bytes=2400000-"});
  CHECK(parts() == 0);
}

TEST_CASE_METHOD(Puller, "a registry without ranges is read from the start again", "[pull]") {
  const auto image = make_image({noise(2'000'000, 1)});
  std::atomic<int> cuts = 0;
  ScriptedServer registry([&](const Request& request) -> Reply {
    auto plain = request;
    plain.headers.erase("range");
    auto reply = serve_image(image, plain);
    if (is_blob_of(request, image.layer_digests()[0]) && cuts++ < 1) reply.cut_after = 700'000;
    return reply;
  });
  const auto pulling = pull(registry.host() + "/app");
  REQUIRE(pulling);
  CHECK(bytes_of(*pulling->layers[0]) == image.layers[0]);
}

TEST_CASE_METHOD(Puller, "after three more tries a connection that stays broken is an error", "[pull]") {
  const auto image = make_image({noise(100'000, 1)});
  ScriptedServer registry([&](const Request& request) -> Reply {
    auto reply = serve_image(image, request);
    if (is_blob_of(request, image.layer_digests()[0])) reply.cut_after = 10;
    return reply;
  });
  const auto pulling = pull(registry.host() + "/app");
  REQUIRE_FALSE(pulling);
  CHECK(pulling.error().code == ErrorCode::blob_truncated);
  CHECK(pulling.error().transient);
  CHECK(registry.count("GET", image.layer_digests()[0]) == 4);
}

TEST_CASE_METHOD(Puller, "a refused layer is not asked for again", "[pull]") {
  const int status = GENERATE(403, 404);
  const auto image = make_image({noise(100, 1)});
  ScriptedServer registry([&](const Request& request) -> Reply {
    if (is_blob_of(request, image.layer_digests()[0])) return {.status = status};
    return serve_image(image, request);
  });
  const auto pulling = pull(registry.host() + "/app");
  REQUIRE_FALSE(pulling);
  CHECK(pulling.error().code == (status == 403 ? ErrorCode::registry_forbidden : ErrorCode::image_not_found));
  CHECK(pulling.error().subject == image.layer_digests()[0]);
  CHECK(registry.count("GET", image.layer_digests()[0]) == 1);
  CHECK(parts() == 0);
}

TEST_CASE_METHOD(Puller, "a busy registry is waited for as long as it says", "[pull]") {
  const auto image = make_image({noise(100, 1)});
  std::atomic<int> asked = 0;
  ScriptedServer registry([&](const Request& request) -> Reply {
    if (is_blob_of(request, image.layer_digests()[0]) && asked++ == 0)
      return {.status = 429, .headers = {{"Retry-After", "1"}}};
    return serve_image(image, request);
  });
  const auto before = std::chrono::steady_clock::now();
  CHECK(pull(registry.host() + "/app"));
  CHECK(std::chrono::steady_clock::now() - before >= std::chrono::seconds(1));
}

TEST_CASE_METHOD(Puller, "a layer of the wrong digest, or longer than stated, leaves nothing", "[pull]") {
  const bool longer = GENERATE(false, true);
  const auto image = make_image({noise(100'000, 1)});
  ScriptedServer registry([&](const Request& request) -> Reply {
    auto reply = serve_image(image, request);
    if (is_blob_of(request, image.layer_digests()[0])) {
      reply.body = noise(longer ? 200'000 : 100'000, 2);
      if (longer) reply.headers.push_back({"Transfer-Encoding", "identity"});  // no length: known only by reading
      if (longer) reply.cut_after = reply.body.size();
    }
    return reply;
  });
  const auto pulling = pull(registry.host() + "/app");
  REQUIRE_FALSE(pulling);
  CHECK(pulling.error().code == ErrorCode::digest_mismatch);
  CHECK(pulling.error().subject == image.layer_digests()[0]);
  CHECK_FALSE(cache->has(image.layer_digests()[0]));
  CHECK(parts() == 0);
}

TEST_CASE_METHOD(Puller, "a pull cancelled in the middle ends at once, and the next try goes on from there", "[pull]") {
  const auto image = make_image({noise(3'000'000, 1), noise(2'000'000, 2)});
  std::atomic<bool> slow = true;
  ScriptedServer registry([&](const Request& request) -> Reply {
    auto reply = serve_image(image, request);
    if (request.path.find("/blobs/") != std::string::npos && !is_blob_of(request, image.config_digest()) && slow) {
      reply.cut_after = 1'000'000;
      reply.stall = true;
    }
    return reply;
  });
  const auto name = registry.host() + "/app";
  const bool by_stop = GENERATE(true, false);
  std::stop_source source;
  context.stop = source.get_token();
  auto pulling = start(name);
  REQUIRE(pulling);
  const auto layers = pulling->layers;
  registry.wait_for_stalled(2);
  for (const auto& layer : layers) REQUIRE(layer->wait_beyond(999'999, {}));
  const auto before = std::chrono::steady_clock::now();
  if (by_stop)
    source.request_stop();
  else
    pulling->downloads.reset();
  for (const auto& layer : layers) CHECK(layer->wait_complete({}).error().code == ErrorCode::cancelled);
  CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(1));
  CHECK(parts() == 2);

  slow = false;
  registry.release();
  context.stop = {};
  const auto again = pull(name);
  REQUIRE(again);
  CHECK(bytes_of(*again->layers[0]) == image.layers[0]);
  const auto requests = registry.requests();
  CHECK(std::count_if(requests.begin(), requests.end(),
                      [](const Request& request) { return request.header("range") == "bytes=1000000-"; }) == 2);
  CHECK(parts() == 0);
}

TEST_CASE_METHOD(Puller, "what no later try will ask for is not kept, nor what an earlier process left", "[pull]") {
  const auto image = make_image({noise(3'000'000, 1)});
  ScriptedServer registry([&](const Request& request) -> Reply {
    auto reply = serve_image(image, request);
    if (is_blob_of(request, image.layer_digests()[0])) {
      reply.cut_after = 1'000'000;
      reply.stall = true;
    }
    return reply;
  });
  auto pulling = start(registry.host() + "/app");
  REQUIRE(pulling);
  registry.wait_for_stalled(1);
  const auto wanted = pulling->image.layers;
  const bool by_restart = GENERATE(true, false);

  cache->abandon(wanted);
  CHECK(parts() == 1);  // somebody still waits for it
  pulling->downloads.reset();
  if (by_restart) {
    cache.reset();
    cache = *BlobCache::open(folder / "blobs");
  } else {
    cache->abandon(wanted);
  }

  CHECK(parts() == 0);
  registry.release();
}

TEST_CASE_METHOD(Puller, "who lets go while its progress is told has left all the same", "[pull]") {
  const auto image = make_image({noise(3'000'000, 1)});
  std::binary_semaphore started(0), telling(0), told(0);
  std::atomic<bool> first = true;
  ScriptedServer registry([&](const Request& request) -> Reply {
    auto reply = serve_image(image, request);
    if (is_blob_of(request, image.layer_digests()[0])) {
      started.acquire();
      reply.cut_after = 1'000'000;
      reply.stall = true;
    }
    return reply;
  });
  context.report = [&](const StageProgress& progress) {
    if (progress.done_bytes == 0 || !first.exchange(false)) return;
    telling.release();
    told.acquire();
  };
  auto pulling = start(registry.host() + "/app");
  REQUIRE(pulling);
  const auto wanted = pulling->image.layers;
  started.release();
  telling.acquire();

  pulling->downloads.reset();
  cache->abandon(wanted);

  CHECK(parts() == 0);
  told.release();
  registry.release();
}

TEST_CASE_METHOD(Puller, "a part damaged since then is thrown away", "[pull]") {
  const auto image = make_image({noise(100'000, 1)});
  ScriptedServer registry([&](const Request& request) { return serve_image(image, request); });
  const auto part = folder / "blobs/.tmp" / (image.layer_digests()[0].substr(7) + ".part");
  write_file(part, noise(50'000, 9));
  const auto damaged = pull(registry.host() + "/app");
  REQUIRE_FALSE(damaged);
  CHECK(damaged.error().code == ErrorCode::digest_mismatch);
  CHECK(damaged.error().transient);
  CHECK(parts() == 0);
  CHECK(pull(registry.host() + "/app"));
}

TEST_CASE_METHOD(Puller, "a whole part is checked and used without asking the registry", "[pull]") {
  const auto image = make_image({noise(100'000, 1)});
  ScriptedServer registry([&](const Request& request) { return serve_image(image, request); });
  write_file(folder / "blobs/.tmp" / (image.layer_digests()[0].substr(7) + ".part"), image.layers[0]);
  CHECK(pull(registry.host() + "/app"));
  CHECK(registry.count("GET", image.layer_digests()[0]) == 0);
}

TEST_CASE_METHOD(Puller, "two images that share a layer download it once, and one outlives the other's end", "[pull]") {
  const auto image = make_image({noise(2'000'000, 1)});
  std::atomic<bool> slow = true;
  ScriptedServer registry([&](const Request& request) -> Reply {
    auto reply = serve_image(image, request);
    if (is_blob_of(request, image.layer_digests()[0]) && slow.exchange(false)) {
      reply.cut_after = 500'000;
      reply.stall = true;
    }
    return reply;
  });
  auto first = start(registry.host() + "/one");
  REQUIRE(first);
  registry.wait_for_stalled(1);
  auto second = start(registry.host() + "/two");
  REQUIRE(second);
  CHECK(first->layers[0] == second->layers[0]);
  first->downloads.reset();
  registry.release();
  CHECK(second->layers[0]->wait_complete({}));
  CHECK(registry.count("GET", "/two/blobs/" + image.layer_digests()[0]) == 0);
  CHECK(registry.count("GET", "/one/blobs/" + image.layer_digests()[0]) == 2);  // cut once, gone on with
}

TEST_CASE_METHOD(Puller, "a shared layer is fetched as the other when the first may not", "[pull]") {
  const auto image = make_image({noise(100'000, 1)});
  ScriptedServer registry([&](const Request& request) -> Reply {
    if (request.path.find("/one/blobs/" + image.layer_digests()[0]) != std::string::npos)
      return {.status = 403, .headers = {}, .body = "no", .cut_after = 0, .stall = true};
    return serve_image(image, request);
  });
  const auto first = start(registry.host() + "/one");
  REQUIRE(first);
  registry.wait_for_stalled(1);
  const auto second = start(registry.host() + "/two");
  REQUIRE(second);
  registry.release();
  CHECK(second->layers[0]->wait_complete({}));
}

TEST_CASE_METHOD(Puller, "no more than four layers are fetched side by side", "[pull]") {
  std::vector<std::string> layers;
  for (std::uint32_t i = 0; i < 7; ++i) layers.push_back(noise(2000, i));
  const auto image = make_image(layers);
  std::mutex mutex;
  std::condition_variable changed;
  int now = 0, most = 0, seen = 0;
  ScriptedServer registry([&](const Request& request) -> Reply {
    auto reply = serve_image(image, request);
    if (request.path.find("/blobs/") != std::string::npos && !is_blob_of(request, image.config_digest())) {
      std::unique_lock lock(mutex);
      most = std::max(most, ++now);
      ++seen;
      changed.notify_all();
      changed.wait(lock, [&] { return seen >= 4; });  // the first four are here together
      changed.wait_for(lock, std::chrono::milliseconds(50), [&] { return now > 4; });  // and a fifth would come now
      --now;
    }
    return reply;
  });
  CHECK(pull(registry.host() + "/app"));
  CHECK(most == 4);
}

TEST_CASE_METHOD(Puller, "progress is the sum of all layers and never goes back", "[pull]") {
  const auto image = make_image({noise(1'000'000, 1), noise(500'000, 2), noise(1'000'000, 1)});
  ScriptedServer registry([&](const Request& request) { return serve_image(image, request); });
  std::mutex mutex;
  std::vector<StageProgress> seen;
  context.report = [&](const StageProgress& progress) {
    const std::lock_guard lock(mutex);
    seen.push_back(progress);
  };
  auto pulling = pull(registry.host() + "/app");
  REQUIRE(pulling);
  pulling->downloads.reset();
  cache.reset();  // its threads have ended
  const std::lock_guard lock(mutex);
  REQUIRE(seen.size() >= 2);
  CHECK(seen.back().done_bytes == 1'500'000);
  CHECK(seen.back().total_bytes == 1'500'000);
  CHECK(seen.back().detail == "2 of 2 layers");
  for (std::size_t i = 1; i < seen.size(); ++i) CHECK(seen[i].done_bytes >= seen[i - 1].done_bytes);
}

TEST_CASE_METHOD(Puller, "the cache's files are for its owner alone", "[pull]") {
  const auto image = make_image({"one"});
  ScriptedServer registry([&](const Request& request) { return serve_image(image, request); });
  REQUIRE(pull(registry.host() + "/app"));
  const auto mode = [](const std::filesystem::path& path) {
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    return status.st_mode & 07777;
  };
  CHECK(mode(cache->path(image.layer_digests()[0])) == 0600);
  CHECK(mode(folder / "blobs") == 0700);
  CHECK(mode(folder / "blobs/sha256") == 0700);
  CHECK(mode(folder / "blobs/.tmp") == 0700);
}

TEST_CASE_METHOD(Puller, "an empty layer and the same layer twice are no problem", "[pull]") {
  const auto image = make_image({"", noise(5000, 1), noise(5000, 1), ""});
  ScriptedServer registry([&](const Request& request) { return serve_image(image, request); });
  const auto pulling = pull(registry.host() + "/app");
  REQUIRE(pulling);
  REQUIRE(pulling->layers.size() == 4);
  CHECK(pulling->layers[1] == pulling->layers[2]);
  CHECK(registry.count("GET", image.layer_digests()[1]) == 1);
}

TEST_CASE_METHOD(Puller, "a full disk is told and what was written is removed", "[pull]") {
  const auto image = make_image({noise(3'000'000, 1)});
  ScriptedServer registry([&](const Request& request) { return serve_image(image, request); });
  const auto name = registry.host() + "/app";
  // On a thread of its own: the mount is seen by it, and by what it starts, alone.
  Result<PullingImage> outcome =
      fail({.code = ErrorCode::internal, .attempted = "", .subject = "", .reason = "not run", .mend = ""});
  bool mounted = false;
  std::size_t left = 99;
  std::thread([&] {
    const auto disk = folder / "disk";
    std::filesystem::create_directories(disk);
    mounted = ::unshare(CLONE_NEWNS | CLONE_FS) == 0 &&
              ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
              ::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=1m") == 0;
    if (!mounted) return;
    cache = *BlobCache::open(disk / "blobs");
    outcome = pull(name);
    cache.reset();
    left = static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(disk / "blobs/.tmp"), {}));
  }).join();
  if (!mounted) {
    WARN("no right to mount a tmpfs: not tested");
    return;
  }
  REQUIRE_FALSE(outcome);
  INFO(describe(outcome.error()));
  CHECK(outcome.error().code == ErrorCode::disk_full);
  CHECK_FALSE(outcome.error().mend.empty());
  CHECK(left == 0);
}

}  // namespace
}  // namespace nanobox
