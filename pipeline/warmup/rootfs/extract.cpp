#include "pipeline/warmup/rootfs/extract.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "pipeline/warmup/blob_arrival.hpp"
#include "pipeline/warmup/rootfs/extracted_parts.hpp"
#include "pipeline/warmup/rootfs/inflate.hpp"

namespace nanobox {

namespace {

constexpr unsigned kMostWorkers = 8;
constexpr std::uint64_t kReportStep = 1U << 20;
constexpr std::size_t kTarConsumer = 0, kHashConsumer = 1;

Error internal_error(const BlobArrival& blob, const char* what) {
  return {
      .code = ErrorCode::internal, .attempted = "extract layer", .subject = blob.digest(), .reason = what, .mend = ""};
}

/// The tar thread's end of the ring.
class RingSource : public ChunkSource {
public:
  RingSource(BufferRing& ring, std::stop_token stop) : ring_(ring), stop_(std::move(stop)) {}
  Result<std::span<const std::byte>> next_chunk() override {
    held_.reset();
    held_ = NANOBOX_TRY(ring_.next(kTarConsumer, stop_));
    if (!held_) return std::span<const std::byte>();
    return std::span<const std::byte>(held_->bytes.get(), held_->size);
  }

private:
  BufferRing& ring_;
  std::stop_token stop_;
  BufferRing::Filled held_;
};

struct FreeDigest {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

Result<std::string> hash_ring(BufferRing& ring, const std::stop_token& stop) {
  const std::unique_ptr<EVP_MD_CTX, FreeDigest> context(EVP_MD_CTX_new());
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  for (;;) {
    const auto filled = NANOBOX_TRY(ring.next(kHashConsumer, stop));
    if (!filled) break;
    EVP_DigestUpdate(context.get(), filled->bytes.get(), filled->size);
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  EVP_DigestFinal_ex(context.get(), digest.data(), &size);
  std::string text = "sha256:";
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (unsigned at = 0; at < size; ++at) {
    text += kDigits[digest[at] >> 4];
    text += kDigits[digest[at] & 0xF];
  }
  return text;
}

/// Runs `work` so that nothing it throws leaves the thread.
template <class T, class Work>
void guarded(Result<T>& result, const BlobArrival& blob, Work work) noexcept {
  try {
    result = work();
  } catch (const std::exception& error) {
    result = fail(internal_error(blob, error.what()));
  }
}

/// Requests a stop unless told that all went well: threads made so far must end when a further one cannot be made.
class StopOnThrow {
public:
  explicit StopOnThrow(std::stop_source& source) : source_(source) {}
  StopOnThrow(const StopOnThrow&) = delete;
  ~StopOnThrow() {
    if (!passed_) source_.request_stop();
  }
  void pass() { passed_ = true; }

private:
  std::stop_source& source_;
  bool passed_ = false;
};

class Extraction {
public:
  Extraction(const StageContext& context, const PullingImage& pulling, const ExtractSettings& settings,
             ExtractedImage::Parts& parts)
      : context_(context),
        pulling_(pulling),
        settings_(settings),
        parts_(parts),
        gate_(settings.large_windows ? settings.large_windows : std::make_shared<WindowGate>()),
        total_bytes_(pulling.image.total_bytes()) {
    for (std::size_t at = 0; at < pulling.layers.size(); ++at) waiting_.push_back(at);
  }

  Result<void> run() {
    const std::stop_callback forward(context_.stop, [this] { stop_.request_stop(); });
    const auto cores = std::max(1U, std::thread::hardware_concurrency());
    const auto wanted = settings_.workers != 0 ? settings_.workers : std::min(cores, kMostWorkers);
    const auto count = std::min<std::size_t>(wanted, pulling_.layers.size());
    {
      std::vector<std::jthread> workers;
      for (std::size_t at = 0; at < count; ++at) workers.emplace_back([this] { work(); });
    }
    const std::lock_guard lock(mutex_);
    if (error_ && error_->code != ErrorCode::cancelled) return fail(*error_);
    NANOBOX_TRY(context_.check("extract layers"));
    if (error_) return fail(*error_);
    return {};
  }

private:
  void work() noexcept {
    while (const auto layer = next_layer()) {
      Result<void> done;
      guarded(done, *pulling_.layers[*layer], [&] { return extract_one(*layer); });
      if (!done) return give_up(std::move(done).error());
      report(0, 1);
    }
  }

  /// The largest of the layers whose bytes have begun to arrive, else the largest.
  std::optional<std::size_t> next_layer() {
    const std::lock_guard lock(mutex_);
    if (error_ || waiting_.empty() || stop_.stop_requested()) return std::nullopt;
    const auto rank = [this](std::size_t at) {
      const auto& blob = *pulling_.layers[at];
      return std::pair(blob.available() != 0, blob.size_bytes());
    };
    const auto best = std::max_element(waiting_.begin(), waiting_.end(),
                                       [&](auto left, auto right) { return rank(left) < rank(right); });
    const auto layer = *best;
    waiting_.erase(best);
    return layer;
  }

  /// The first error is the one that counts; what follows from stopping the others is not.
  void give_up(Error error) {
    {
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::move(error);
    }
    stop_.request_stop();
  }

  void report(std::uint64_t bytes, std::size_t layers) {
    if (std::chrono::steady_clock::now() >= context_.deadline) stop_.request_stop();
    const auto done = done_bytes_.fetch_add(bytes) + bytes;
    auto told = told_bytes_.load();
    if (layers == 0 && (done - std::min(told, done) < kReportStep || !told_bytes_.compare_exchange_strong(told, done)))
      return;
    const auto finished = done_layers_.fetch_add(layers) + layers;
    context_.report(
        {.done_bytes = done,
         .total_bytes = total_bytes_,
         .detail = std::to_string(finished) + " of " + std::to_string(pulling_.layers.size()) + " layers extracted"});
  }

  Result<void> extract_one(std::size_t layer) {
    const auto& blob = *pulling_.layers[layer];
    auto done = follow(layer);
    if (done) return blob.wait_complete(stop_.get_token());
    // Bytes that make no sense are most likely the wrong bytes: then the digest is what is wrong.
    const auto code = done.error().code;
    if (code == ErrorCode::layer_invalid || code == ErrorCode::layer_unsupported ||
        code == ErrorCode::diff_id_mismatch) {
      if (auto complete = blob.wait_complete(stop_.get_token()); !complete) return complete;
    }
    return done;
  }

  Result<void> follow(std::size_t layer) {
    const auto& blob = *pulling_.layers[layer];
    std::stop_source here;  // ends this layer's threads, even one that waits for bytes
    const std::stop_callback forward(stop_.get_token(), [&here] { here.request_stop(); });
    const auto stop = here.get_token();
    BufferRing ring;
    Result<std::string> diff_id;
    Result<LayerIndex> index = fail(internal_error(blob, "not read"));
    {
      const std::jthread inflating([&] {
        inflate_blob({.blob = blob,
                      .ring = ring,
                      .limits = settings_.limits,
                      .gate = *gate_,
                      .consumed = [this](std::uint64_t bytes) { report(bytes, 0); },
                      .stop = stop});
      });
      StopOnThrow guard(here);
      const std::jthread hashing([&] {
        guarded(diff_id, blob, [&] { return hash_ring(ring, stop); });
        if (!diff_id) here.request_stop();
      });
      guarded(index, blob, [&] {
        RingSource source(ring, stop);
        DataWriter writer(parts_.area, parts_.file.fd());
        return read_layer(source, parts_.budget, writer);
      });
      if (!index) here.request_stop();
      guard.pass();
    }
    if (!index) {
      auto error = std::move(index).error();
      if (error.attempted == "read tar entry") error.attempted = "read entry of layer " + blob.digest();
      return fail(std::move(error));
    }
    if (!diff_id) return fail(std::move(diff_id).error());
    const auto& expected = pulling_.image.config.diff_ids[layer];
    if (*diff_id != expected)
      return fail({.code = ErrorCode::diff_id_mismatch,
                   .attempted = "verify layer",
                   .subject = blob.digest(),
                   .reason = "its contents are " + *diff_id + ", the image's configuration says " + expected,
                   .mend = "the image is damaged: build and push it again"});
    parts_.layers[layer] = std::move(*index);
    return {};
  }

  const StageContext& context_;
  const PullingImage& pulling_;
  const ExtractSettings& settings_;
  ExtractedImage::Parts& parts_;
  std::shared_ptr<WindowGate> gate_;
  const std::uint64_t total_bytes_;
  std::stop_source stop_;
  std::mutex mutex_;
  std::vector<std::size_t> waiting_;
  std::optional<Error> error_;
  std::atomic<std::uint64_t> done_bytes_{0}, told_bytes_{0};
  std::atomic<std::size_t> done_layers_{0};
};

}  // namespace

ExtractedImage::ExtractedImage(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
ExtractedImage::ExtractedImage(ExtractedImage&&) noexcept = default;
ExtractedImage& ExtractedImage::operator=(ExtractedImage&&) noexcept = default;
ExtractedImage::~ExtractedImage() = default;

Result<ExtractedImage> extract_layers(const StageContext& context, const PullingImage& pulling,
                                      const ExtractSettings& settings) {
  const auto& image = pulling.image;
  if (pulling.layers.size() != image.layers.size() || pulling.layers.size() != image.config.diff_ids.size())
    return fail({.code = ErrorCode::manifest_invalid,
                 .attempted = "extract layers",
                 .subject = image.name,
                 .reason = std::to_string(image.layers.size()) + " layers, but " +
                           std::to_string(image.config.diff_ids.size()) + " diff_ids",
                 .mend = ""});
  try {
    auto file = NANOBOX_TRY(HalfFile::create(settings.rootfs_folder));
    auto parts = std::make_unique<ExtractedImage::Parts>(image, std::move(file), settings.limits);
    NANOBOX_TRY(Extraction(context, pulling, settings, *parts).run().map_error([&](const Error& error) {
      return parts->file.named(error);
    }));
    return ExtractedImage(std::move(parts));
  } catch (const std::exception& error) {
    return fail({.code = ErrorCode::internal,
                 .attempted = "extract layers",
                 .subject = image.name,
                 .reason = error.what(),
                 .mend = ""});
  }
}

}  // namespace nanobox
