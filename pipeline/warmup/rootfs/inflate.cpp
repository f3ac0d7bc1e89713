#include "pipeline/warmup/rootfs/inflate.hpp"

#include <isa-l/igzip_lib.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <string>

namespace nanobox {

namespace {

constexpr std::size_t kInputBytes = 256U << 10;
constexpr std::uint64_t kFreeWindowBytes = 8U << 20;
constexpr std::uint64_t kMostWindowBytes = 128U << 20;
constexpr std::size_t kMagicBytes = 4;

Error layer_error(ErrorCode code, const BlobArrival& blob, std::string reason, std::string mend = "") {
  return {.code = code,
          .attempted = "inflate layer",
          .subject = blob.digest(),
          .reason = std::move(reason),
          .mend = std::move(mend)};
}

/// The blob's bytes in order, waiting for those still to come.
class Input {
public:
  explicit Input(const InflateJob& job) : job_(job), buffer_(new std::byte[kInputBytes]) {}

  /// What was read and not yet taken; reads on until at least `least` bytes are there or the blob ends.
  Result<std::span<const std::byte>> peek(std::size_t least) {
    while (end_ - begin_ < least && offset_ < job_.blob.size_bytes()) {
      if (begin_ != 0) {
        std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
      }
      const auto available = NANOBOX_TRY(job_.blob.wait_beyond(offset_, job_.stop));
      const auto wanted = std::min<std::uint64_t>(kInputBytes - end_, available - offset_);
      const auto got = ::pread(job_.blob.file(), buffer_.get() + end_, wanted, static_cast<off_t>(offset_));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail(errno_error(errno, "read layer", job_.blob.digest()));
      if (got == 0) return fail(layer_error(ErrorCode::io_failed, job_.blob, "its file is shorter than announced"));
      end_ += static_cast<std::size_t>(got);
      offset_ += static_cast<std::uint64_t>(got);
      job_.consumed(static_cast<std::uint64_t>(got));
    }
    return std::span<const std::byte>(buffer_.get() + begin_, end_ - begin_);
  }
  void take(std::size_t count) { begin_ += count; }
  std::uint64_t taken() const { return offset_ - (end_ - begin_); }

private:
  const InflateJob& job_;
  std::unique_ptr<std::byte[]> buffer_;
  std::size_t begin_ = 0, end_ = 0;
  std::uint64_t offset_ = 0;
};

/// Fills buffers of the ring and counts what goes in.
class Output {
public:
  Output(const InflateJob& job, const Input& input) : job_(job), input_(input) {}

  Result<std::span<std::byte>> room() {
    if (buffer_ && buffer_->size == BufferRing::kBufferBytes) job_.ring.publish(std::move(buffer_));
    if (!buffer_) buffer_ = job_.ring.acquire(job_.stop);
    if (!buffer_) return fail(layer_error(ErrorCode::cancelled, job_.blob, "it was cancelled"));
    return std::span(buffer_->bytes.get() + buffer_->size, BufferRing::kBufferBytes - buffer_->size);
  }
  Result<void> commit(std::size_t count) {
    buffer_->size += count;
    total_ += count;
    const auto& limits = job_.limits;
    if (total_ > limits.max_inflated_bytes)
      return fail(layer_error(ErrorCode::layer_too_large, job_.blob,
                              "it inflates to more than " + std::to_string(limits.max_inflated_bytes) + " bytes"));
    if (total_ > limits.ratio_floor_bytes && total_ / limits.max_ratio > input_.taken())
      return fail(layer_error(ErrorCode::layer_too_large, job_.blob,
                              "it inflates to more than " + std::to_string(limits.max_ratio) + " times its size",
                              "the layer looks like a decompression bomb"));
    return {};
  }
  void flush() {
    if (buffer_) job_.ring.publish(std::move(buffer_));
  }

private:
  const InflateJob& job_;
  const Input& input_;
  std::unique_ptr<BufferRing::Buffer> buffer_;
  std::uint64_t total_ = 0;
};

std::string isal_text(int status) {
  switch (status) {
    case ISAL_INVALID_BLOCK:
      return "a deflate block is invalid";
    case ISAL_INVALID_SYMBOL:
      return "a deflate symbol is invalid";
    case ISAL_INVALID_LOOKBACK:
      return "a deflate distance is invalid";
    case ISAL_INVALID_WRAPPER:
      return "the gzip header is invalid";
    case ISAL_UNSUPPORTED_METHOD:
      return "the gzip method is unknown";
    case ISAL_INCORRECT_CHECKSUM:
      return "the gzip checksum is wrong";
    default:
      return "gzip error " + std::to_string(status);
  }
}

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

/// Some writers pad the end of a gzip blob with zeros.
Result<void> take_padding(const InflateJob& job, Input& input) {
  for (;;) {
    const auto rest = NANOBOX_TRY(input.peek(1));
    if (rest.empty()) return {};
    if (!all_zero(rest))
      return fail(layer_error(ErrorCode::layer_invalid, job.blob, "bytes after the gzip stream are no gzip"));
    input.take(rest.size());
  }
}

Result<void> inflate_gzip(const InflateJob& job, Input& input, Output& output) {
  auto state = std::make_unique<inflate_state>();
  isal_inflate_init(state.get());
  state->crc_flag = ISAL_GZIP;
  for (;;) {
    auto bytes = NANOBOX_TRY(input.peek(1));
    if (bytes.empty())
      return fail(layer_error(ErrorCode::layer_invalid, job.blob, "it ends in the middle of a gzip stream"));
    const auto room = NANOBOX_TRY(output.room());
    state->next_in = reinterpret_cast<std::uint8_t*>(const_cast<std::byte*>(bytes.data()));
    state->avail_in = static_cast<std::uint32_t>(bytes.size());
    state->next_out = reinterpret_cast<std::uint8_t*>(room.data());
    state->avail_out = static_cast<std::uint32_t>(room.size());
    const int status = isal_inflate(state.get());
    if (status < 0) return fail(layer_error(ErrorCode::layer_invalid, job.blob, isal_text(status)));
    input.take(bytes.size() - state->avail_in);
    NANOBOX_TRY(output.commit(room.size() - state->avail_out));
    if (state->block_state != ISAL_BLOCK_FINISH) continue;
    const auto next = NANOBOX_TRY(input.peek(2));
    if (next.empty()) return {};
    if (compression_of(next) != Compression::gzip) return take_padding(job, input);
    isal_inflate_reset(state.get());
    state->crc_flag = ISAL_GZIP;
  }
}

constexpr std::uint32_t kZstdMagic = 0xFD2FB528;
constexpr std::uint32_t kZstdSkippableMagic = 0x184D2A50;

std::uint32_t little32(std::span<const std::byte> bytes) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// The window a frame wants (RFC 8878, 3.1.1.1); 0 for skippable frames.
std::uint64_t window_bytes(std::span<const std::byte> frame) {
  if (frame.size() < 6 || little32(frame) != kZstdMagic) return 0;
  const auto descriptor = std::to_integer<unsigned>(frame[4]);
  if ((descriptor & 0x20) == 0) {
    const auto window = std::to_integer<unsigned>(frame[5]);
    const std::uint64_t base = 1ULL << (10 + (window >> 3));
    return base + base / 8 * (window & 7);
  }
  static constexpr std::array<std::size_t, 4> kIdBytes{0, 1, 2, 4}, kSizeBytes{1, 2, 4, 8};
  const auto at = 5 + kIdBytes[descriptor & 3];
  const auto size_bytes = kSizeBytes[descriptor >> 6];
  if (frame.size() < at + size_bytes) return 0;
  std::uint64_t size = 0;
  std::memcpy(&size, frame.data() + at, size_bytes);
  return size_bytes == 2 ? size + 256 : size;
}

struct FreeStream {
  void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
};

Result<void> inflate_frame(const InflateJob& job, Input& input, Output& output, ZSTD_DStream* stream) {
  ZSTD_DCtx_reset(stream, ZSTD_reset_session_only);
  ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, 27);
  for (;;) {
    const auto bytes = NANOBOX_TRY(input.peek(1));
    const auto room = NANOBOX_TRY(output.room());
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    ZSTD_outBuffer out{room.data(), room.size(), 0};
    const auto left = ZSTD_decompressStream(stream, &out, &in);
    if (ZSTD_isError(left))
      return fail(layer_error(ErrorCode::layer_invalid, job.blob, std::string("zstd: ") + ZSTD_getErrorName(left)));
    input.take(in.pos);
    NANOBOX_TRY(output.commit(out.pos));
    if (left == 0) return {};
    if (bytes.empty() && out.pos == 0)
      return fail(layer_error(ErrorCode::layer_invalid, job.blob, "it ends in the middle of a zstd frame"));
  }
}

Result<void> inflate_zstd(const InflateJob& job, Input& input, Output& output) {
  constexpr std::size_t kHeaderBytes = 18;
  std::unique_ptr<ZSTD_DStream, FreeStream> stream;
  for (;;) {
    const auto header = NANOBOX_TRY(input.peek(kHeaderBytes));
    if (header.empty()) return {};
    const auto window = window_bytes(header);
    if (window > kMostWindowBytes)
      return fail(layer_error(ErrorCode::layer_unsupported, job.blob,
                              "its zstd window of " + std::to_string(window) + " bytes is above 128 MiB",
                              "compress it without --long, or with --long=27 at most"));
    WindowGate::Pass pass;
    if (window > kFreeWindowBytes) {
      pass = job.gate.enter(job.stop);
      if (!pass) return fail(layer_error(ErrorCode::cancelled, job.blob, "it was cancelled"));
    }
    if (!stream) stream.reset(ZSTD_createDStream());
    if (!stream) throw std::bad_alloc();
    NANOBOX_TRY(inflate_frame(job, input, output, stream.get()));
    if (pass) stream.reset();
  }
}

Result<void> copy_plain(Input& input, Output& output) {
  for (;;) {
    const auto bytes = NANOBOX_TRY(input.peek(1));
    if (bytes.empty()) return {};
    const auto room = NANOBOX_TRY(output.room());
    const auto count = std::min(bytes.size(), room.size());
    std::memcpy(room.data(), bytes.data(), count);
    input.take(count);
    NANOBOX_TRY(output.commit(count));
  }
}

Result<void> inflate(const InflateJob& job) {
  Input input(job);
  Output output(job, input);
  const auto magic = NANOBOX_TRY(input.peek(kMagicBytes));
  Result<void> done;
  switch (compression_of(magic)) {
    case Compression::gzip:
      done = inflate_gzip(job, input, output);
      break;
    case Compression::zstd:
      done = inflate_zstd(job, input, output);
      break;
    case Compression::none:
      done = copy_plain(input, output);
      break;
  }
  if (done) output.flush();
  return done;
}

}  // namespace

WindowGate::Pass::~Pass() {
  if (!gate_) return;
  {
    const std::lock_guard lock(gate_->mutex_);
    gate_->taken_ = false;
  }
  gate_->changed_.notify_one();
}

WindowGate::Pass WindowGate::enter(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait(lock, stop, [&] { return !taken_; })) return {};
  taken_ = true;
  return Pass(this);
}

Compression compression_of(std::span<const std::byte> first_bytes) {
  if (first_bytes.size() >= 2 && first_bytes[0] == std::byte{0x1f} && first_bytes[1] == std::byte{0x8b})
    return Compression::gzip;
  if (first_bytes.size() >= kMagicBytes) {
    const auto magic = little32(first_bytes);
    if (magic == kZstdMagic || (magic & 0xFFFFFFF0) == kZstdSkippableMagic) return Compression::zstd;
  }
  return Compression::none;
}

void inflate_blob(const InflateJob& job) noexcept {
  try {
    if (auto done = inflate(job); !done) return job.ring.fail_with(std::move(done).error());
    job.ring.finish();
  } catch (const std::exception& error) {
    job.ring.fail_with(layer_error(ErrorCode::internal, job.blob, error.what()));
  }
}

}  // namespace nanobox
