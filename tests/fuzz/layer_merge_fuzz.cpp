// Two tars → indexes → merged tree → ext4 image, from outside bytes. The image goes to a memfd and is thrown away.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "config/unique_fd.hpp"
#include "pipeline/warmup/rootfs/image_writer.hpp"
#include "pipeline/warmup/rootfs/layer_reader.hpp"
#include "pipeline/warmup/rootfs/merge.hpp"

namespace {

using namespace nanobox;

/// Uneven pieces, so that every field crosses a border once.
class PiecesSource : public ChunkSource {
public:
  explicit PiecesSource(std::span<const std::byte> bytes) : rest_(bytes) {}
  Result<std::span<const std::byte>> next_chunk() override {
    size_ = size_ % 1499 + 97;
    const auto piece = rest_.first(std::min(size_, rest_.size()));
    rest_ = rest_.subspan(piece.size());
    return piece;
  }

private:
  std::span<const std::byte> rest_;
  std::size_t size_ = 0;
};

constexpr ImageLimits kLimits{.max_entries = 2000,
                              .max_inflated_bytes = 1U << 20,
                              .max_total_bytes = 16U << 20,
                              .max_file_bytes = 1ULL << 40,
                              .max_ratio = 250,
                              .ratio_floor_bytes = 1U << 30,
                              .max_path_bytes = 4095,
                              .max_path_depth = 255,
                              .max_pax_bytes = 64U << 10,
                              .max_sparse_ranges = 1000};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  const auto middle = bytes.size() * data[0] / 256 / 512 * 512;
  const UniqueFd image(::memfd_create("image", MFD_CLOEXEC));
  ImageBudget budget{.limits = kLimits};
  DataArea area;
  DataWriter writer(area, image.get());
  std::vector<LayerIndex> layers;
  for (const auto part : {bytes.first(middle), bytes.subspan(middle)}) {
    PiecesSource source(part);
    auto layer = read_layer(source, budget, writer);
    if (!layer) return 0;
    layers.push_back(std::move(*layer));
  }
  MergedTree tree(4 * kLimits.max_entries);
  for (const auto& layer : layers) {
    if (!tree.apply(layer)) return 0;
  }
  const StageContext context;
  (void)write_image(context, image.get(), area, tree, std::array<std::uint8_t, 32>{1, 2, 3});
  return 0;
}
