#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "config/error.hpp"
#include "pipeline/warmup/rootfs/layer_index.hpp"

namespace nanobox {

inline constexpr std::uint32_t kNoNode = 0xFFFFFFFF;

/// What an inode will be made of.
struct TreeNode {
  const LayerEntry* entry = nullptr;   ///< null: a folder that no layer names, 0755 root
  std::uint32_t links = 0;             ///< names that lead here; 0: gone
  std::uint32_t parent = kNoNode;      ///< of folders
  std::uint32_t first_name = kNoNode;  ///< of folders: their names, chained by `next`, gone ones among them

  bool is_folder() const {
    return !entry || entry->type == EntryType::folder || entry->type == EntryType::missing_folder;
  }
};

struct TreeName {
  std::string_view text;
  std::uint32_t parent = kNoNode;
  std::uint32_t node = kNoNode;  ///< kNoNode: gone
  std::uint32_t next = kNoNode;
};

/// The layers' one tree, merged bottom-up in memory by the rules of OCI image-spec layer.md and design/ext4.md.
/// Symlinks are followed inside the tree only. Keeps pointers into the indexes, which must outlive it.
class MergedTree {
public:
  /// @param max_nodes  folders, files and names altogether, those later removed included
  explicit MergedTree(std::uint64_t max_nodes);

  /// @errors  layer_invalid · layer_too_large, each with the entry's path
  Result<void> apply(const LayerIndex& layer);

  static constexpr std::uint32_t kRoot = 0;
  const std::vector<TreeNode>& nodes() const { return nodes_; }
  const std::vector<TreeName>& names() const { return names_; }
  /// The name's index, or kNoNode.
  std::uint32_t find(std::uint32_t folder, std::string_view name) const;

private:
  enum class Missing : std::uint8_t { give_up = 1, create };

  Result<std::uint32_t> walk(std::string_view folder_path, Missing missing, std::string_view subject);
  Result<std::uint32_t> follow(std::string_view folder_path, Missing missing, std::string_view subject);
  Result<std::uint32_t> add_node(const LayerEntry* entry, std::uint32_t parent, std::string_view subject);
  void bind(std::uint32_t folder, std::string_view name, std::uint32_t node);
  void remove(std::uint32_t name);
  void remove_children(std::uint32_t folder);
  void drop(std::uint32_t node);
  Result<void> hide(const LayerEntry& entry);
  Result<void> put(const LayerEntry& entry);
  Result<void> put_hard_link(const LayerEntry& entry, std::uint32_t parent, std::string_view name);
  std::uint64_t hash(std::uint32_t folder, std::string_view name) const;
  void grow_table();

  std::uint64_t max_nodes_;
  std::uint64_t seed_;
  std::vector<TreeNode> nodes_;
  std::vector<TreeName> names_;
  std::vector<std::uint32_t> table_;  ///< open addressing: (folder, name) → index into names_
  std::string_view last_path_;        ///< the folder found last, while nothing was replaced since
  std::uint32_t last_folder_ = kNoNode;
};

}  // namespace nanobox
