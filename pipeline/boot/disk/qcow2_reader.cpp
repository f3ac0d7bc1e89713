#include "pipeline/boot/disk/qcow2_reader.hpp"

#include <endian.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace nanobox {

using namespace qcow2;

namespace {

constexpr std::uint64_t kOffsetBits = 0x00FF'FFFF'FFFF'FE00;
constexpr std::uint64_t kCompressed = std::uint64_t{1} << 62;
constexpr std::uint64_t kZeros = 1;
constexpr std::uint64_t kRefcountsStale = 1;  // of the incompatible features: no matter to who reads clusters

/// Big-endian fields by their offset.
class Header {
public:
  std::byte* data() { return bytes_.data(); }
  std::uint32_t u32(std::size_t at) const { return be32toh(get<std::uint32_t>(at)); }
  std::uint64_t u64(std::size_t at) const { return be64toh(get<std::uint64_t>(at)); }

private:
  template <class T>
  T get(std::size_t at) const {
    T value;
    std::memcpy(&value, bytes_.data() + at, sizeof value);
    return value;
  }
  std::array<std::byte, kHeaderBytes> bytes_{};
};

constexpr std::uint64_t tables_of(std::uint64_t size_bytes) {
  return (size_bytes + kTableBytes - 1) / kTableBytes;
}

}  // namespace

Error Qcow2Reader::wrong(std::string reason) const {
  return {.code = ErrorCode::io_failed,
          .attempted = "read the disk overlay",
          .subject = name_,
          .reason = std::move(reason),
          .mend = ""};
}

Result<void> Qcow2Reader::read_at(std::uint64_t position, void* bytes, std::size_t size) const {
  auto* to = static_cast<std::byte*>(bytes);
  while (size > 0) {
    const auto got = ::pread(file_.get(), to, size, static_cast<off_t>(position));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error(errno, "read the disk overlay", name_));
    if (got == 0) return fail(wrong("it is cut off"));
    to += got;
    position += static_cast<std::uint64_t>(got);
    size -= static_cast<std::size_t>(got);
  }
  return {};
}

Result<Qcow2Reader> Qcow2Reader::open(const std::filesystem::path& path) {
  // A FIFO in its place must not stop us.
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file) return fail(errno_error(errno, "open the disk overlay", path.string()));
  return read(std::move(file), path.string());
}

Result<Qcow2Reader> Qcow2Reader::read(UniqueFd file, std::string name) {
  Qcow2Reader reader(std::move(file), std::move(name));
  NANOBOX_TRY(reader.read_header());
  return reader;
}

Result<void> Qcow2Reader::read_header() {
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) return fail(errno_error(errno, "read the disk overlay", name_));
  if (!S_ISREG(status.st_mode)) return fail(wrong("it is no regular file"));
  file_bytes_ = static_cast<std::uint64_t>(status.st_size);
  clusters_left_ = (file_bytes_ + kClusterBytes - 1) / kClusterBytes;
  Header header;
  if (file_bytes_ < kHeaderBytes) return fail(wrong("it is no qcow2 file"));
  NANOBOX_TRY(read_at(0, header.data(), kHeaderBytes));
  if (header.u32(0) != kMagic) return fail(wrong("it is no qcow2 file"));
  if (header.u32(4) != 3) return fail(wrong("it is of another version of qcow2 than 3"));
  if (header.u32(20) != kClusterBits) return fail(wrong("its clusters have another size than 64 KiB"));
  if (header.u32(32) != 0) return fail(wrong("it is encrypted"));
  if (header.u32(60) != 0) return fail(wrong("it has snapshots inside"));
  if ((header.u64(72) & ~kRefcountsStale) != 0)
    return fail(wrong("it is marked as corrupt, or has external data, compressed or extended clusters"));
  size_bytes_ = header.u64(24);
  if (size_bytes_ > kMostBytes) return fail(wrong("its disk has more than 1 TiB"));
  const auto count = tables();
  const auto position = header.u64(40);
  if (header.u32(36) < count) return fail(wrong("its L1 table is too short for its disk"));
  if (position % kClusterBytes != 0 || position > file_bytes_ || count * sizeof(std::uint64_t) > file_bytes_ - position)
    return fail(wrong("its L1 table lies outside of it"));
  l1_.resize(count);
  return read_at(position, l1_.data(), count * sizeof(std::uint64_t));
}

std::uint64_t Qcow2Reader::tables() const {
  return tables_of(size_bytes_);
}

Result<bool> Qcow2Reader::read_table(std::uint64_t index, std::vector<Qcow2Cluster>& clusters) {
  const auto position = index < l1_.size() ? be64toh(l1_[index]) & kOffsetBits : 0;
  if (position == 0) return false;
  if (position % kClusterBytes != 0 || position > file_bytes_ || kClusterBytes > file_bytes_ - position)
    return fail(wrong("an L2 table lies outside of it"));
  std::vector<std::uint64_t> table(kTableClusters);
  NANOBOX_TRY(read_at(position, table.data(), kClusterBytes));
  std::uint64_t named = 1;
  clusters.assign(kTableClusters, {});
  for (std::size_t i = 0; i < kTableClusters; ++i) {
    const auto entry = be64toh(table[i]);
    if (entry == 0) continue;
    if ((entry & kCompressed) != 0) return fail(wrong("it has compressed clusters"));
    if ((entry & kZeros) != 0) {
      clusters[i] = {.kind = Qcow2Cluster::Kind::zeros, .position = 0};
      continue;
    }
    const auto data = entry & kOffsetBits;
    if (data == 0) continue;
    if (data % kClusterBytes != 0 || data >= file_bytes_) return fail(wrong("a cluster lies outside of it"));
    clusters[i] = {.kind = Qcow2Cluster::Kind::data, .position = data};
    ++named;
  }
  if (named > clusters_left_) return fail(wrong("it names more clusters than it has"));
  clusters_left_ -= named;
  return true;
}

}  // namespace nanobox
