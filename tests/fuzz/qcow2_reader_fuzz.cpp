// What a VMM that its guest took over may leave as its disk.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "pipeline/boot/disk/qcow2_reader.hpp"

namespace {

constexpr std::size_t kRecordBytes = 11;

}  // namespace

// The input is the file's length in 4 KiB, its header, and then records: a cluster, an entry in it, and the entry.
// Whatever they say, what is read lies inside of the file and is no more than it has.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nanobox;
  if (size < 1 + qcow2::kHeaderBytes) return 0;
  const auto file_bytes = std::uint64_t{data[0]} * 4096;
  UniqueFd file(::memfd_create("disk", MFD_CLOEXEC));
  const auto put = [&](std::uint64_t position, const std::uint8_t* bytes, std::size_t count) {
    if (position + count <= file_bytes) (void)!::pwrite(file.get(), bytes, count, static_cast<off_t>(position));
  };
  if (::ftruncate(file.get(), static_cast<off_t>(file_bytes)) != 0) return 0;
  put(0, data + 1, qcow2::kHeaderBytes);
  for (std::size_t at = 1 + qcow2::kHeaderBytes; at + kRecordBytes <= size; at += kRecordBytes)
    put(data[at] % 16 * qcow2::kClusterBytes + (data[at + 1] | data[at + 2] << 8) % qcow2::kTableClusters * 8,
        data + at + 3, 8);
  auto reader = Qcow2Reader::read(std::move(file), "disk");
  if (!reader) {
    if (reader.error().subject != "disk" || reader.error().reason.empty()) std::abort();
    return 0;
  }
  if (reader->size_bytes() > qcow2::kMostBytes || reader->tables() > qcow2::kTableClusters) std::abort();
  std::vector<Qcow2Cluster> clusters;
  std::uint64_t named = 0;
  for (std::uint64_t table = 0; table <= reader->tables(); ++table) {
    const auto found = reader->read_table(table, clusters);
    if (!found) return 0;
    if (!*found) continue;
    if (clusters.size() != qcow2::kTableClusters || table == reader->tables()) std::abort();
    for (const auto& cluster : clusters) {
      if (cluster.kind != Qcow2Cluster::Kind::data) continue;
      ++named;
      if (cluster.position >= file_bytes || cluster.position % qcow2::kClusterBytes != 0) std::abort();
    }
  }
  if (named > file_bytes / qcow2::kClusterBytes + 1) std::abort();
  return 0;
}
