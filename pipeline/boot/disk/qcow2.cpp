#include "pipeline/boot/disk/qcow2.hpp"

#include <endian.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace nanobox {

namespace {

constexpr std::uint32_t kClusterBits = 16;
constexpr std::uint64_t kEntriesPerTable = Qcow2Writer::kClusterBytes / sizeof(std::uint64_t);
constexpr std::uint64_t kRefcounts = Qcow2Writer::kClusterBytes / sizeof(std::uint16_t);
constexpr std::uint64_t kCopied = std::uint64_t{1} << 63;
constexpr std::uint64_t kRefcountTableAt = 1, kRefcountBlockAt = 2, kL1At = 3, kFirstFree = 4;  // in clusters
constexpr std::uint32_t kFormatExtension = 0xE2792ACA;
constexpr std::size_t kMostBackingName = 1023;
constexpr std::size_t kHeaderBytes = 104;

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
  std::size_t at() const { return at_; }

private:
  template <class T>
  void put(T value) {
    std::memcpy(out_.data() + at_, &value, sizeof value);
    at_ += sizeof value;
  }
  std::span<std::byte> out_;
  std::size_t at_ = 0;
};

}  // namespace

Result<Qcow2Writer> Qcow2Writer::create(const std::filesystem::path& path, std::uint64_t size_bytes,
                                        const std::string& backing_name) {
  const auto tables = (size_bytes + kClusterBytes * kEntriesPerTable - 1) / (kClusterBytes * kEntriesPerTable);
  if (backing_name.empty() || backing_name.size() > kMostBackingName || tables > kEntriesPerTable)
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "make disk overlay",
                 .subject = path.string(),
                 .reason = "the backing file's name or the size is too long",
                 .mend = ""});
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file) return fail(errno_error(errno, "make disk overlay", path.string()));
  Qcow2Writer writer(path, std::move(file), size_bytes, backing_name);
  writer.l1_.resize(std::max<std::uint64_t>(tables, 1));
  return writer;
}

Qcow2Writer::Qcow2Writer(std::filesystem::path path, UniqueFd file, std::uint64_t size_bytes, std::string backing_name)
    : path_(std::move(path)),
      file_(std::move(file)),
      size_bytes_(size_bytes),
      backing_name_(std::move(backing_name)),
      next_cluster_(kFirstFree) {}

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

Result<void> Qcow2Writer::add(std::uint64_t index, std::span<const std::byte> bytes) {
  const auto table = index / kEntriesPerTable;
  if (!l2_.empty() && table != l2_index_) NANOBOX_TRY(write_table());
  if (next_cluster_ + 2 > kRefcounts)
    return fail({.code = ErrorCode::invalid_value,
                 .attempted = "write disk overlay",
                 .subject = path_.string(),
                 .reason = "it has too many clusters",
                 .mend = ""});
  if (l2_.empty()) {
    l2_.resize(kEntriesPerTable);
    l2_index_ = table;
    l1_[table] = htobe64(next_cluster_++ * kClusterBytes | kCopied);
  }
  const auto position = next_cluster_++ * kClusterBytes;
  l2_[index % kEntriesPerTable] = htobe64(position | kCopied);
  return write(position, bytes);
}

Result<void> Qcow2Writer::write_table() {
  if (l2_.empty()) return {};
  const auto position = be64toh(l1_[l2_index_]) & ~kCopied;
  NANOBOX_TRY(write(position, std::as_bytes(std::span(l2_))));
  l2_.clear();
  return {};
}

Result<void> Qcow2Writer::finish() {
  NANOBOX_TRY(write_table());
  std::vector<std::byte> head((kFirstFree - 1) * kClusterBytes);  // header, refcount table, refcount block
  FieldWriter fields(head);
  fields.u32(0x514649FB);  // "QFI\xfb"
  fields.u32(3);
  constexpr std::size_t kExtensionBytes = 8 + 8 + 8;  // "raw", padded, and the end mark
  fields.u64(kHeaderBytes + kExtensionBytes);
  fields.u32(static_cast<std::uint32_t>(backing_name_.size()));
  fields.u32(kClusterBits);
  fields.u64(size_bytes_);
  fields.u32(0);  // no encryption
  fields.u32(static_cast<std::uint32_t>(l1_.size()));
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
  fields.u32(3);
  fields.text("raw");
  fields.align(8);
  fields.u64(0);
  fields.text(backing_name_);

  FieldWriter(std::span(head).subspan(kRefcountTableAt * kClusterBytes)).u64(kRefcountBlockAt * kClusterBytes);
  auto counts = std::span(head).subspan(kRefcountBlockAt * kClusterBytes);
  for (std::uint64_t cluster = 0; cluster < next_cluster_; ++cluster) counts[2 * cluster + 1] = std::byte{1};

  NANOBOX_TRY(write(kL1At * kClusterBytes, std::as_bytes(std::span(l1_))));
  if (::ftruncate(file_.get(), static_cast<off_t>(next_cluster_ * kClusterBytes)) != 0)
    return fail(errno_error(errno, "write disk overlay", path_.string()));
  NANOBOX_TRY(write(0, head));
  file_.reset();
  return {};
}

}  // namespace nanobox
