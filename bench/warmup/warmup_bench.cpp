// warmup_bench OUT LAYER…: what layers cost from blob to root file system, against what no program that checks both
// digests can do without. One line of JSON. OUT and the layers should lie on tmpfs.
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "pipeline/warmup/blob_arrival.hpp"
#include "pipeline/warmup/rootfs/build.hpp"
#include "pipeline/warmup/rootfs/data_area.hpp"
#include "pipeline/warmup/rootfs/extract.hpp"
#include "pipeline/warmup/rootfs/inflate.hpp"

namespace {

using namespace nanobox;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// SHA-256 as "sha256:<hex>".
class Digest {
public:
  Digest() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
  void add(std::span<const std::byte> bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  std::string text() {
    std::array<unsigned char, 32> bytes;
    EVP_DigestFinal_ex(context_.get(), bytes.data(), nullptr);
    std::string text = "sha256:";
    for (const auto byte : bytes) {
      std::array<char, 3> hex;
      std::snprintf(hex.data(), hex.size(), "%02x", byte);
      text += hex.data();
    }
    return text;
  }

private:
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

enum class Work { inflate = 1, hash, write };

struct Raw {
  std::string diff_id;
  std::uint64_t inflated = 0;
};

std::shared_ptr<BlobArrival> arrival(const std::string& path, const std::string& digest) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  auto blob = std::make_shared<BlobArrival>(digest, std::filesystem::file_size(path), std::move(file));
  blob->complete();
  return blob;
}

std::string file_digest(const std::string& path) {
  Digest digest;
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::vector<std::byte> piece(1U << 20);
  for (ssize_t got; (got = ::read(file.get(), piece.data(), piece.size())) > 0;)
    digest.add(std::span(piece).first(static_cast<std::size_t>(got)));
  return digest.text();
}

/// One layer by the bare steps: inflate; and hash blob and tar; and write the tar once.
Raw bare(const std::string& path, Work work, const std::string& out) {
  const auto blob = arrival(path, path);
  const ImageLimits limits;
  WindowGate gate;
  BufferRing ring;
  UniqueFd file;
  if (work >= Work::write) file = UniqueFd(::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  std::jthread inflating([&] {
    inflate_blob(
        {.blob = *blob, .ring = ring, .limits = limits, .gate = gate, .consumed = [](std::uint64_t) {}, .stop = {}});
  });
  std::jthread blob_hash([&] {
    if (work >= Work::hash) (void)file_digest(path);
  });
  Raw raw;
  std::jthread hashing([&] {
    Digest digest;
    while (const auto filled = ring.next(1, {}).value_or(nullptr)) {
      if (work >= Work::hash) digest.add({filled->bytes.get(), filled->size});
    }
    if (work >= Work::hash) raw.diff_id = digest.text();
  });
  while (const auto filled = ring.next(0, {}).value_or(nullptr)) {
    if (work >= Work::write)
      (void)write_at(file.get(), raw.inflated, std::span<const std::byte>(filled->bytes.get(), filled->size));
    raw.inflated += filled->size;
  }
  hashing.join();
  blob_hash.join();
  file.reset();
  if (work >= Work::write) std::filesystem::remove(out);
  return raw;
}

std::vector<Raw> bare_all(const std::vector<std::string>& layers, Work work, const std::string& out) {
  std::vector<Raw> all(layers.size());
  std::vector<std::size_t> order(layers.size());
  for (std::size_t at = 0; at < order.size(); ++at) order[at] = at;
  std::sort(order.begin(), order.end(), [&](auto left, auto right) {
    return std::filesystem::file_size(layers[left]) > std::filesystem::file_size(layers[right]);
  });
  std::atomic<std::size_t> next{0};
  std::vector<std::jthread> workers;
  for (unsigned at = 0; at < std::max(1U, std::thread::hardware_concurrency()); ++at)
    workers.emplace_back([&] {
      for (std::size_t mine; (mine = next++) < order.size();)
        all[order[mine]] = bare(layers[order[mine]], work, out + "/raw" + std::to_string(order[mine]));
    });
  workers.clear();
  return all;
}

/// RssAnon + RssShmem of this process in KiB.
std::uint64_t memory_kib() {
  std::ifstream status("/proc/self/status");
  std::uint64_t sum = 0;
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:") || line.starts_with("RssShmem:"))
      sum += std::stoull(line.substr(line.find(':') + 1));
  }
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: warmup_bench OUT LAYER…\n");
    return 2;
  }
  const std::string out = argv[1];
  const std::vector<std::string> layers(argv + 2, argv + argc);
  std::filesystem::create_directories(out);

  PullingImage pulling;
  std::uint64_t compressed = 0, inflated = 0;
  const auto raws = bare_all(layers, Work::hash, out);
  for (std::size_t at = 0; at < layers.size(); ++at) {
    const auto digest = file_digest(layers[at]);
    const auto size = std::filesystem::file_size(layers[at]);
    pulling.image.layers.push_back({.media_type = "", .digest = digest, .size = size, .urls = {}});
    pulling.image.config.diff_ids.push_back(raws[at].diff_id);
    pulling.layers.push_back(arrival(layers[at], digest));
    compressed += size;
    inflated += raws[at].inflated;
  }
  auto start = Clock::now();
  bare_all(layers, Work::inflate, out);
  const auto limit1 = seconds_since(start);
  start = Clock::now();
  bare_all(layers, Work::hash, out);
  const auto limit2 = seconds_since(start);
  start = Clock::now();
  bare_all(layers, Work::write, out);
  const auto limit3 = seconds_since(start);

  const auto idle = memory_kib();
  std::atomic<std::uint64_t> peak{0};
  std::jthread watch([&](std::stop_token stop) {
    while (!stop.stop_requested()) {
      peak = std::max(peak.load(), memory_kib());
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  // The puller hashes each blob while it writes it: that digest is part of the work.
  start = Clock::now();
  std::vector<std::jthread> pullers;
  for (const auto& layer : layers) pullers.emplace_back([&layer] { (void)file_digest(layer); });
  ExtractSettings settings;
  settings.rootfs_folder = out;
  auto extracted = extract_layers({}, pulling, settings);
  pullers.clear();
  const auto extract = seconds_since(start);
  auto built = extracted ? build_rootfs({}, std::move(*extracted), {}) : Result<BuiltRootfs>(fail(extracted.error()));
  const auto total = seconds_since(start);
  watch.request_stop();
  watch.join();
  if (!built) {
    std::fprintf(stderr, "%s\n", describe(built.error()).c_str());
    return 1;
  }
  std::printf(
      "{\"layers\":%zu,\"compressed_mb\":%.1f,\"tar_mb\":%.1f,\"entries\":%llu,\"used_mb\":%.1f,\"extract_s\":%.3f,"
      "\"total_s\":%.3f,"
      "\"limit1_s\":%.3f,\"limit2_s\":%.3f,\"limit3_s\":%.3f,\"of_limit3\":%.2f,\"peak_mb\":%.1f,\"image\":\"%s\"}\n",
      layers.size(), static_cast<double>(compressed) / 1e6, static_cast<double>(inflated) / 1e6,
      static_cast<unsigned long long>(built->entries), static_cast<double>(built->used_bytes) / 1e6, extract, total,
      limit1, limit2, limit3, total / limit3, static_cast<double>(peak - std::min<std::uint64_t>(idle, peak)) / 1024,
      built->image_path.c_str());
  return 0;
}
