#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "pipeline/boot/disk/overlay.hpp"
#include "pipeline/boot/disk/qcow2.hpp"
#include "pipeline/boot/disk/qcow2_reader.hpp"

namespace nanobox {

using namespace qcow2;

namespace {

using Kind = Qcow2Cluster::Kind;

/// Where a cluster's content is found: in the base, nowhere, or in a layer.
struct Origin {
  Kind kind = Kind::unallocated;
  std::uint32_t visible = kClusterBytes;  ///< bytes, zeros behind them: a layer above ended there
  std::size_t layer = 0;
  std::uint64_t position = 0;
};

class Chain {
public:
  Chain(std::vector<Qcow2Reader> layers, std::uint64_t base_bytes)
      : layers_(std::move(layers)), base_bytes_(base_bytes), origins_(kTableClusters) {}

  /// Adds what the chain has of L2 table `table`, below `size_bytes`.
  Result<void> add(Qcow2Writer& writer, std::uint64_t table, std::uint64_t size_bytes,
                   const std::filesystem::path& path) {
    if (!NANOBOX_TRY(resolve(table))) return {};
    const auto first = table * kTableClusters;
    const auto count = std::min(kTableClusters, (size_bytes + kClusterBytes - 1) / kClusterBytes - first);
    for (std::uint64_t i = 0; i < count;) {
      const auto& origin = origins_[i];
      if (origin.kind == Kind::data && origin.visible == kClusterBytes) {
        const auto run = run_length(i, count);
        NANOBOX_TRY(writer.add_copy(first + i, run, layers_[origin.layer].file(), origin.position));
        i += run;
        continue;
      }
      if (origin.kind == Kind::zeros) NANOBOX_TRY(writer.add_zeros(first + i));
      if (origin.kind == Kind::data) NANOBOX_TRY(add_cut(writer, first + i, origin));
      if (origin.kind == Kind::unallocated && origin.visible < kClusterBytes &&
          (first + i) * kClusterBytes + origin.visible < std::min(base_bytes_, size_bytes))
        return fail({.code = ErrorCode::invalid_value,
                     .attempted = "flatten disk overlays",
                     .subject = path.string(),
                     .reason = "a layer ends inside of a cluster of the base",
                     .mend = "use disks whose sizes are multiples of 64 KiB"});
      ++i;
    }
    return {};
  }

private:
  /// Fills `origins_`; false where all of the table is the base's.
  Result<bool> resolve(std::uint64_t table) {
    const auto begin = table * kTableBytes;
    bool any = false;
    std::fill(origins_.begin(), origins_.end(), Origin{});
    for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
      if (NANOBOX_TRY(layers_[layer].read_table(table, clusters_))) {
        any = true;
        for (std::size_t i = 0; i < kTableClusters; ++i)
          if (clusters_[i].kind != Kind::unallocated)
            origins_[i] = {.kind = clusters_[i].kind, .layer = layer, .position = clusters_[i].position};
      }
      const auto end = layers_[layer].size_bytes();
      if (end < begin + kTableBytes && (any || begin < base_bytes_)) any |= hide(begin, end);
    }
    return any;
  }

  /// What lies behind a layer's end is not seen by those above it. Whether that changed anything.
  bool hide(std::uint64_t begin, std::uint64_t end) {
    bool changed = false;
    for (auto i = end < begin ? 0 : (end - begin) / kClusterBytes; i < kTableClusters; ++i) {
      const auto at = begin + i * kClusterBytes;
      if (end > at) {
        origins_[i].visible = std::min(origins_[i].visible, static_cast<std::uint32_t>(end - at));
      } else {
        origins_[i] = {.kind = at < base_bytes_ ? Kind::zeros : Kind::unallocated};
      }
      changed = true;
    }
    return changed;
  }

  /// How many clusters from `first` on lie one behind the other in one layer.
  std::uint64_t run_length(std::uint64_t first, std::uint64_t count) const {
    const auto& origin = origins_[first];
    std::uint64_t run = 1;
    while (first + run < count) {
      const auto& next = origins_[first + run];
      if (next.kind != Kind::data || next.layer != origin.layer || next.visible != kClusterBytes ||
          next.position != origin.position + run * kClusterBytes)
        break;
      ++run;
    }
    return run;
  }

  Result<void> add_cut(Qcow2Writer& writer, std::uint64_t index, const Origin& origin) {
    std::vector<std::byte> cluster(kClusterBytes);
    for (std::size_t done = 0; done < origin.visible;) {
      const auto got = ::pread(layers_[origin.layer].file(), cluster.data() + done, origin.visible - done,
                               static_cast<off_t>(origin.position + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail(errno_error(errno, "read a disk overlay", ""));
      if (got == 0) break;
      done += static_cast<std::size_t>(got);
    }
    return writer.add(index, cluster);
  }

  std::vector<Qcow2Reader> layers_;
  std::uint64_t base_bytes_;
  std::vector<Origin> origins_;
  std::vector<Qcow2Cluster> clusters_;
};

}  // namespace

Result<void> flatten_overlays(const std::filesystem::path& path, std::span<const std::filesystem::path> layers,
                              std::uint64_t size_bytes, const std::string& backing_name, bool durable,
                              std::uint64_t base_bytes) {
  std::vector<Qcow2Reader> readers;
  for (const auto& layer : layers) readers.push_back(NANOBOX_TRY(Qcow2Reader::open(layer)));
  Chain chain(std::move(readers), base_bytes);
  auto writer = NANOBOX_TRY(Qcow2Writer::create(path, {.size_bytes = size_bytes, .backing_name = backing_name}));
  for (std::uint64_t table = 0; table * kTableBytes < size_bytes; ++table)
    NANOBOX_TRY(chain.add(writer, table, size_bytes, path));
  return writer.finish(durable);
}

}  // namespace nanobox
