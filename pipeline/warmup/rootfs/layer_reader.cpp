#include "pipeline/warmup/rootfs/layer_reader.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/warmup/rootfs/ext4/geometry.hpp"
#include "pipeline/warmup/rootfs/ext4/xattr.hpp"

namespace nanobox {

namespace {

constexpr std::size_t kMostNameBytes = 255;
constexpr std::size_t kMostLinkBytes = 4095;
constexpr std::string_view kWhiteout = ".wh.", kWhiteoutMeta = ".wh..wh.", kOpaque = ".wh..wh..opq";

/// Flushes the writer before a chunk it may point into goes away.
class FlushingSource : public ChunkSource {
public:
  FlushingSource(ChunkSource& source, DataWriter& writer) : source_(source), writer_(writer) {}
  Result<std::span<const std::byte>> next_chunk() override {
    NANOBOX_TRY(writer_.flush());
    return source_.next_chunk();
  }

private:
  ChunkSource& source_;
  DataWriter& writer_;
};

Error entry_error(ErrorCode code, const std::string& path, std::string reason) {
  return {.code = code, .attempted = "read tar entry", .subject = path, .reason = std::move(reason), .mend = ""};
}

struct CleanPath {
  std::string text;  ///< the form of LayerEntry::path
  std::size_t last_at = 0;
  bool in_whiteout = false;  ///< a part before the last begins with ".wh."

  std::string_view last() const { return std::string_view(text).substr(last_at); }
  std::string_view folder() const { return std::string_view(text).substr(0, last_at == 0 ? 0 : last_at - 1); }
};

Result<CleanPath> clean_path(const std::string& path, const std::string& subject, const ImageLimits& limits) {
  if (path.empty()) return fail(entry_error(ErrorCode::layer_invalid, subject, "it has an empty name"));
  if (path.size() > limits.max_path_bytes)
    return fail(entry_error(ErrorCode::layer_too_large, subject.substr(0, 100) + "…",
                            "its path has more than " + std::to_string(limits.max_path_bytes) + " bytes"));
  CleanPath clean;
  std::size_t depth = 0;
  std::string_view rest = path;
  while (!rest.empty()) {
    const auto slash = rest.find('/');
    const auto part = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
    if (part.empty() || part == ".") continue;
    if (part.size() > kMostNameBytes)
      return fail(entry_error(ErrorCode::layer_invalid, subject, "a name in it has more than 255 bytes"));
    if (++depth > limits.max_path_depth)
      return fail(entry_error(ErrorCode::layer_too_large, subject.substr(0, 100) + "…",
                              "it is more than " + std::to_string(limits.max_path_depth) + " folders deep"));
    if (!clean.text.empty()) {
      clean.in_whiteout = clean.in_whiteout || clean.last().starts_with(kWhiteout);
      clean.text += '/';
    }
    clean.last_at = clean.text.size();
    clean.text += part;
  }
  if (clean.last() == "..") return fail(entry_error(ErrorCode::layer_invalid, subject, "its last part is \"..\""));
  return clean;
}

EntryType entry_type(TarType type) {
  switch (type) {
    case TarType::file:
      return EntryType::file;
    case TarType::folder:
      return EntryType::folder;
    case TarType::symlink:
      return EntryType::symlink;
    case TarType::hard_link:
      return EntryType::hard_link;
    case TarType::char_device:
      return EntryType::char_device;
    case TarType::block_device:
      return EntryType::block_device;
    case TarType::fifo:
      return EntryType::fifo;
  }
  return EntryType::file;
}

class LayerBuilder {
public:
  LayerBuilder(TarReader& tar, ImageBudget& budget, DataWriter& writer) : tar_(tar), budget_(budget), writer_(writer) {}

  Result<void> add(const TarEntry& member) {
    if (budget_.entries.fetch_add(1) >= budget_.limits.max_entries)
      return fail(entry_error(ErrorCode::layer_too_large, member.path,
                              "the image has more than " + std::to_string(budget_.limits.max_entries) + " entries"));
    const auto path = NANOBOX_TRY(clean_path(member.path, member.path, budget_.limits));
    if (path.in_whiteout) return {};
    if (path.last().starts_with(kWhiteout)) return add_whiteout(member, path);

    LayerEntry entry;
    entry.path = index.arena.text(path.text);
    entry.type = entry_type(member.type);
    entry.mode = member.mode;
    entry.uid = member.uid;
    entry.gid = member.gid;
    entry.mtime = member.mtime;
    entry.mtime_nsec = member.mtime_nsec;
    entry.device_major = member.device_major;
    entry.device_minor = member.device_minor;
    entry.size_bytes = member.size_bytes;
    if (member.type == TarType::symlink) {
      if (member.link.empty() || member.link.size() > kMostLinkBytes)
        return fail(
            entry_error(ErrorCode::layer_invalid, member.path, "its target is empty or has more than 4095 bytes"));
      entry.link = index.arena.text(member.link);
    }
    if (member.type == TarType::hard_link) {
      const auto target = NANOBOX_TRY(clean_path(member.link, member.path, budget_.limits));
      entry.link = index.arena.text(target.text);
    } else {
      entry.xattrs = NANOBOX_TRY(keep_xattrs(member));
    }
    if (member.type == TarType::file) entry.extents = NANOBOX_TRY(place(member));
    index.entries.push_back(entry);
    return {};
  }

  LayerIndex index;

private:
  Result<void> add_whiteout(const TarEntry& member, const CleanPath& path) {
    LayerEntry entry;
    if (path.last() == kOpaque) {
      entry.type = EntryType::opaque;
      entry.path = index.arena.text(path.folder());
    } else if (path.last().starts_with(kWhiteoutMeta)) {
      return {};
    } else {
      const auto hidden = path.last().substr(kWhiteout.size());
      if (hidden.empty() || hidden == "." || hidden == "..")
        return fail(entry_error(ErrorCode::layer_invalid, member.path, "the whiteout names nothing"));
      entry.type = EntryType::whiteout;
      entry.path = index.arena.text(path.text.substr(0, path.last_at) + std::string(hidden));
    }
    index.entries.push_back(entry);
    return {};
  }

  Result<std::span<const Xattr>> keep_xattrs(const TarEntry& member) {
    std::vector<Xattr> kept;
    for (const auto& [name, value] : member.xattrs) {
      if (ext4::keeps_xattr(name)) kept.push_back({index.arena.text(name), index.arena.text(value)});
    }
    if (!ext4::xattrs_fit(kept))
      return fail(entry_error(ErrorCode::layer_unsupported, member.path,
                              "its extended attributes do not fit into one block of 4096 bytes"));
    return index.arena.list<Xattr>(kept);
  }

  Result<std::span<const Extent>> place(const TarEntry& member) {
    std::uint64_t blocks = 0;
    for (const auto& run : touched_blocks(member.ranges)) blocks += run.count;
    const auto bytes = blocks * ext4::kBlockBytes;
    const auto most = budget_.limits.max_total_bytes;
    if (bytes > most || budget_.data_bytes.fetch_add(bytes) > most - bytes)
      return fail(entry_error(ErrorCode::layer_too_large, member.path,
                              "with its claimed size the image's files pass " + std::to_string(most) + " bytes"));
    const auto extents = writer_.place(member.ranges);
    for (;;) {
      const auto piece = NANOBOX_TRY(tar_.data());
      if (piece.bytes.empty()) break;
      NANOBOX_TRY(writer_.write(piece.offset, piece.bytes));
    }
    return index.arena.list<Extent>(extents);
  }

  TarReader& tar_;
  ImageBudget& budget_;
  DataWriter& writer_;
};

}  // namespace

Result<LayerIndex> read_layer(ChunkSource& source, ImageBudget& budget, DataWriter& writer) {
  FlushingSource flushing(source, writer);
  TarReader tar(flushing, budget.limits);
  LayerBuilder layer(tar, budget, writer);
  for (;;) {
    const auto member = NANOBOX_TRY(tar.next());
    if (!member) break;
    NANOBOX_TRY(layer.add(*member));
  }
  NANOBOX_TRY(tar.drain());
  NANOBOX_TRY(writer.flush());
  return std::move(layer.index);
}

}  // namespace nanobox
