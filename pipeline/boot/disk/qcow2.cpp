#include "pipeline/boot/disk/qcow2.hpp"

#include <endian.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace nanobox {

using namespace qcow2;

namespace {

constexpr std::uint64_t kRefcounts = kClusterBytes / sizeof(std::uint16_t);
constexpr std::uint64_t kCopied = std::uint64_t{1} << 63;
constexpr std::uint64_t kZeros = 1;
constexpr std::uint64_t kRefcountTableAt = 1, kRefcountBlockAt = 2, kL1At = 3, kFirstFree = 4;  // in clusters
constexpr std::uint32_t kFormatExtension = 0xE2792ACA;
constexpr std::size_t kMostBackingName = 1023;

/// Big-endian fields one after the other.
class FieldWriter {
public:
  explicit FieldWriter(std::span<std::byte> out) : out_(out) {}
  void u32(std::uint32_t value) { put(htobe32(value)); }
  void u64(std::uint64_t value) { put(htobe64(value)); }
  void text(const std::string& value) {
    std::memcpy(out_.data() + at_, value.data(), value.size());
    at_ += value.size();
  }
  void align(std::size_t size) { at_ = (at_ + size - 1) / size * size; }
  std::span<const std::byte> written() const { return out_.first(at_); }

private:
  template <class T>
  void put(T value) {
    std::memcpy(out_.data() + at_, &value, sizeof value);
    at_ += sizeof value;
  }
  std::span<std::byte> out_;
  std::size_t at_ = 0;
};

constexpr std::uint64_t tables_of(std::uint64_t size_bytes) {
  return std::max<std::uint64_t>((size_bytes + kTableBytes - 1) / kTableBytes, 1);
}
static_assert(tables_of(kMostBytes) <= kTableClusters, "the L1 table has one cluster");

}  // namespace

Result<Qcow2Writer> Qcow2Writer::create(const std::filesystem::path& path, Qcow2Shape shape) {
  const bool known_format = shape.backing_format == "raw" || shape.backing_format == "qcow2";
  if (shape.backing_name.empty() || shape.backing_name.size() > kMostBackingName || !known_format ||
      shape.size_bytes > kMostBytes)
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "make disk overlay",
                 .subject = path.string(),
                 .reason = "the backing file's name or the size is too long, or its format is neither raw nor qcow2",
                 .mend = ""});
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) return fail(errno_error(errno, "make disk overlay", path.string()));
  return Qcow2Writer(path, std::move(file), std::move(shape));
}

Qcow2Writer::Qcow2Writer(std::filesystem::path path, UniqueFd file, Qcow2Shape shape)
    : path_(std::move(path)), file_(std::move(file)), shape_(std::move(shape)), next_cluster_(kFirstFree) {}

Qcow2Writer::~Qcow2Writer() {
  if (file_) ::unlink(path_.c_str());
}

Result<void> Qcow2Writer::write(std::uint64_t position, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto written = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(position));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail(errno_error(errno, "write disk overlay", path_.string()));
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    position += static_cast<std::uint64_t>(written);
  }
  return {};
}

Result<void> Qcow2Writer::copy(int source, std::uint64_t from, std::uint64_t to, std::uint64_t bytes) {
  std::vector<std::byte> buffer;  // where the file systems cannot copy by themselves
  while (bytes > 0) {
    auto in = static_cast<off_t>(from), out = static_cast<off_t>(to);
    ssize_t count = -1;
    if (buffer.empty()) {
      count = ::copy_file_range(source, &in, file_.get(), &out, bytes, 0);
      if (count < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS))
        buffer.resize(std::min<std::uint64_t>(bytes, std::uint64_t{1} << 20));
    }
    if (!buffer.empty()) {
      count = ::pread(source, buffer.data(), std::min<std::uint64_t>(bytes, buffer.size()), in);
      if (count > 0) NANOBOX_TRY(write(to, std::span(buffer).first(static_cast<std::size_t>(count))));
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(errno_error(errno, "copy into disk overlay", path_.string()));
    if (count == 0) return {};  // a hole is left
    from += static_cast<std::uint64_t>(count);
    to += static_cast<std::uint64_t>(count);
    bytes -= static_cast<std::uint64_t>(count);
  }
  return {};
}

Result<void> Qcow2Writer::begin_table(std::uint64_t index) {
  const auto table = index / kTableClusters;
  if (table >= tables_of(shape_.size_bytes))
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "write disk overlay",
                 .subject = path_.string(),
                 .reason = "a cluster lies behind its end",
                 .mend = ""});
  if (!l2_.empty() && table != l2_index_) NANOBOX_TRY(write_table());
  if (!l2_.empty()) return {};
  l1_.resize(tables_of(shape_.size_bytes));
  l2_.resize(kTableClusters);
  l2_index_ = table;
  l1_[table] = htobe64(next_cluster_++ * kClusterBytes | kCopied);
  return {};
}

Result<void> Qcow2Writer::add(std::uint64_t index, std::span<const std::byte> bytes) {
  NANOBOX_TRY(begin_table(index));
  const auto position = next_cluster_++ * kClusterBytes;
  l2_[index % kTableClusters] = htobe64(position | kCopied);
  return write(position, bytes);
}

Result<void> Qcow2Writer::add_copy(std::uint64_t index, std::uint64_t count, int source, std::uint64_t position) {
  NANOBOX_TRY(begin_table(index));
  const auto to = next_cluster_ * kClusterBytes;
  for (std::uint64_t i = 0; i < count; ++i)
    l2_[index % kTableClusters + i] = htobe64(next_cluster_++ * kClusterBytes | kCopied);
  return copy(source, position, to, count * kClusterBytes);
}

Result<void> Qcow2Writer::add_zeros(std::uint64_t index) {
  NANOBOX_TRY(begin_table(index));
  l2_[index % kTableClusters] = htobe64(kZeros);
  return {};
}

Result<void> Qcow2Writer::write_table() {
  if (l2_.empty()) return {};
  const auto position = be64toh(l1_[l2_index_]) & ~kCopied;
  NANOBOX_TRY(write(position, std::as_bytes(std::span(l2_))));
  l2_.clear();
  return {};
}

/// Every cluster of the file is counted once; the blocks that the first one has no room for lie at the file's end.
Result<void> Qcow2Writer::write_refcounts() {
  std::uint64_t blocks = 1;
  while (next_cluster_ + blocks - 1 > blocks * kRefcounts) ++blocks;
  const auto first_more = next_cluster_;
  next_cluster_ += blocks - 1;
  std::vector<std::uint64_t> table(blocks);
  std::vector<std::uint16_t> counts(std::min(next_cluster_, kRefcounts), htobe16(1));
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const auto position = (i == 0 ? kRefcountBlockAt : first_more + i - 1) * kClusterBytes;
    const auto used = std::min(next_cluster_ - i * kRefcounts, kRefcounts);
    table[i] = htobe64(position);
    NANOBOX_TRY(write(position, std::as_bytes(std::span(counts).first(used))));
  }
  return write(kRefcountTableAt * kClusterBytes, std::as_bytes(std::span(table)));
}

Result<void> Qcow2Writer::write_header() {
  std::array<std::byte, kHeaderBytes + 24 + kMostBackingName> head{};
  FieldWriter fields(head);
  fields.u32(kMagic);
  fields.u32(3);
  constexpr std::size_t kExtensionBytes = 8 + 8 + 8;  // the backing format, padded, and the end mark
  fields.u64(kHeaderBytes + kExtensionBytes);
  fields.u32(static_cast<std::uint32_t>(shape_.backing_name.size()));
  fields.u32(kClusterBits);
  fields.u64(shape_.size_bytes);
  fields.u32(0);  // no encryption
  fields.u32(static_cast<std::uint32_t>(tables_of(shape_.size_bytes)));
  fields.u64(kL1At * kClusterBytes);
  fields.u64(kRefcountTableAt * kClusterBytes);
  fields.u32(1);
  fields.u32(0);  // no snapshots
  fields.u64(0);
  fields.u64(0);  // features: incompatible, compatible, autoclear
  fields.u64(0);
  fields.u64(0);
  fields.u32(4);  // refcounts of 16 bits
  fields.u32(kHeaderBytes);
  fields.u32(kFormatExtension);
  fields.u32(static_cast<std::uint32_t>(shape_.backing_format.size()));
  fields.text(shape_.backing_format);
  fields.align(8);
  fields.u64(0);
  fields.text(shape_.backing_name);
  return write(0, fields.written());
}

/// What is not written is a hole: an empty overlay takes three pages of the host's disk.
Result<void> Qcow2Writer::finish(bool durable) {
  NANOBOX_TRY(write_table());
  if (!l1_.empty()) NANOBOX_TRY(write(kL1At * kClusterBytes, std::as_bytes(std::span(l1_))));
  NANOBOX_TRY(write_refcounts());
  if (::ftruncate(file_.get(), static_cast<off_t>(next_cluster_ * kClusterBytes)) != 0)
    return fail(errno_error(errno, "write disk overlay", path_.string()));
  NANOBOX_TRY(write_header());
  if (durable && ::fsync(file_.get()) != 0) return fail(errno_error(errno, "sync disk overlay", path_.string()));
  file_.reset();
  return {};
}

}  // namespace nanobox
