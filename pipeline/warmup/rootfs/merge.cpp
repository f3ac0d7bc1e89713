#include "pipeline/warmup/rootfs/merge.hpp"

#include <cstring>
#include <random>
#include <string>
#include <utility>

namespace nanobox {

namespace {

constexpr int kMostSymlinks = 40;
constexpr std::size_t kFirstTable = 1024;

Error merge_error(ErrorCode code, std::string_view path, std::string reason) {
  return {.code = code,
          .attempted = "merge layer entry",
          .subject = std::string(path),
          .reason = std::move(reason),
          .mend = ""};
}

std::pair<std::string_view, std::string_view> split_last(std::string_view path) {
  const auto slash = path.rfind('/');
  if (slash == std::string_view::npos) return {{}, path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

std::uint64_t mix(std::uint64_t left, std::uint64_t right) {
  __extension__ using Wide = unsigned __int128;
  const auto product = static_cast<Wide>(left) * right;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

}  // namespace

MergedTree::MergedTree(std::uint64_t max_nodes) : max_nodes_(max_nodes), table_(kFirstTable, kNoNode) {
  std::random_device random;  // names are chosen by whoever made the image: no hash they can foresee
  seed_ = (std::uint64_t{random()} << 32 | random()) | 1;
  nodes_.push_back({.entry = nullptr, .links = 1, .parent = kRoot, .first_name = kNoNode});
}

std::uint64_t MergedTree::hash(std::uint32_t folder, std::string_view name) const {
  constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15;
  std::uint64_t state = mix(seed_ ^ folder, kOdd ^ name.size());
  while (!name.empty()) {
    std::uint64_t word = 0;
    const auto size = std::min(name.size(), sizeof word);
    std::memcpy(&word, name.data(), size);
    state = mix(state ^ word ^ kOdd, seed_ ^ word);
    name.remove_prefix(size);
  }
  return mix(state ^ kOdd, seed_);
}

std::uint32_t MergedTree::find(std::uint32_t folder, std::string_view name) const {
  const auto mask = table_.size() - 1;
  for (auto at = hash(folder, name) & mask;; at = (at + 1) & mask) {
    const auto index = table_[at];
    if (index == kNoNode) return kNoNode;
    if (names_[index].parent == folder && names_[index].text == name) return index;
  }
}

void MergedTree::grow_table() {
  std::vector<std::uint32_t> larger(table_.size() * 2, kNoNode);
  const auto mask = larger.size() - 1;
  for (std::uint32_t index = 0; index < names_.size(); ++index) {
    auto at = hash(names_[index].parent, names_[index].text) & mask;
    while (larger[at] != kNoNode) at = (at + 1) & mask;
    larger[at] = index;
  }
  table_ = std::move(larger);
}

Result<std::uint32_t> MergedTree::add_node(const LayerEntry* entry, std::uint32_t parent, std::string_view subject) {
  if (nodes_.size() + names_.size() >= max_nodes_)
    return fail(
        merge_error(ErrorCode::layer_too_large, subject, "with the folders it implies the image has too many entries"));
  nodes_.push_back({.entry = entry, .links = 0, .parent = parent, .first_name = kNoNode});
  return static_cast<std::uint32_t>(nodes_.size() - 1);
}

/// Makes `name` in `folder` lead to `node`. A name that led elsewhere must have been removed.
void MergedTree::bind(std::uint32_t folder, std::string_view name, std::uint32_t node) {
  ++nodes_[node].links;
  if (const auto known = find(folder, name); known != kNoNode) {
    names_[known].node = node;
    return;
  }
  const auto index = static_cast<std::uint32_t>(names_.size());
  names_.push_back({.text = name, .parent = folder, .node = node, .next = nodes_[folder].first_name});
  nodes_[folder].first_name = index;
  if (names_.size() * 2 > table_.size()) return grow_table();
  const auto mask = table_.size() - 1;
  auto at = hash(folder, name) & mask;
  while (table_[at] != kNoNode) at = (at + 1) & mask;
  table_[at] = index;
}

/// One name of `node` is gone; with a folder all that is below it.
void MergedTree::drop(std::uint32_t node) {
  std::vector<std::uint32_t> pending{node};
  while (!pending.empty()) {
    auto& gone = nodes_[pending.back()];
    pending.pop_back();
    --gone.links;
    if (!gone.is_folder()) continue;
    for (auto name = gone.first_name; name != kNoNode; name = names_[name].next) {
      if (const auto child = std::exchange(names_[name].node, kNoNode); child != kNoNode) pending.push_back(child);
    }
  }
}

void MergedTree::remove(std::uint32_t name) {
  last_folder_ = kNoNode;
  if (const auto node = std::exchange(names_[name].node, kNoNode); node != kNoNode) drop(node);
}

void MergedTree::remove_children(std::uint32_t folder) {
  for (auto name = nodes_[folder].first_name; name != kNoNode; name = names_[name].next) remove(name);
}

/// The folder at `folder_path`, every symlink followed inside the tree; kNoNode where there is none and none is made.
Result<std::uint32_t> MergedTree::walk(std::string_view folder_path, Missing missing, std::string_view subject) {
  if (folder_path.empty()) return kRoot;
  if (last_folder_ != kNoNode && folder_path == last_path_) return last_folder_;
  const auto folder = NANOBOX_TRY(follow(folder_path, missing, subject));
  if (folder != kNoNode) {
    last_path_ = folder_path;
    last_folder_ = folder;
  }
  return folder;
}

Result<std::uint32_t> MergedTree::follow(std::string_view folder_path, Missing missing, std::string_view subject) {
  std::uint32_t at = kRoot;
  int symlinks = 0;
  std::vector<std::string_view> pending{folder_path};
  while (!pending.empty()) {
    auto& rest = pending.back();
    const auto slash = rest.find('/');
    const auto part = rest.substr(0, slash);
    if (slash == std::string_view::npos)
      pending.pop_back();
    else
      rest.remove_prefix(slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      at = nodes_[at].parent;
      continue;
    }
    const auto name = find(at, part);
    const auto child = name == kNoNode ? kNoNode : names_[name].node;
    if (child == kNoNode) {
      if (missing == Missing::give_up) return kNoNode;
      if (part.size() > 255)
        return fail(
            merge_error(ErrorCode::layer_invalid, subject, "a symlink on its way holds a name of more than 255 bytes"));
      const auto made = NANOBOX_TRY(add_node(nullptr, at, subject));
      bind(at, part, made);
      at = made;
    } else if (nodes_[child].is_folder()) {
      at = child;
    } else if (nodes_[child].entry->type == EntryType::symlink) {
      if (++symlinks > kMostSymlinks)
        return fail(merge_error(ErrorCode::layer_invalid, subject, "its folder leads through more than 40 symlinks"));
      const auto target = nodes_[child].entry->link;
      if (target.starts_with('/')) at = kRoot;
      pending.push_back(target);
    } else {
      if (missing == Missing::give_up) return kNoNode;
      return fail(
          merge_error(ErrorCode::layer_invalid, subject, "\"" + std::string(part) + "\" on its way is no folder"));
    }
  }
  return at;
}

Result<void> MergedTree::apply(const LayerIndex& layer) {
  last_folder_ = kNoNode;
  for (const auto& entry : layer.entries) {
    if (entry.type == EntryType::whiteout || entry.type == EntryType::opaque) NANOBOX_TRY(hide(entry));
  }
  for (const auto& entry : layer.entries) {
    if (entry.type != EntryType::whiteout && entry.type != EntryType::opaque) NANOBOX_TRY(put(entry));
  }
  return {};
}

/// What leads nowhere hides nothing.
Result<void> MergedTree::hide(const LayerEntry& entry) {
  if (entry.type == EntryType::opaque) {
    if (const auto folder = walk(entry.path, Missing::give_up, entry.path); folder && *folder != kNoNode)
      remove_children(*folder);
    return {};
  }
  const auto [folder_path, last] = split_last(entry.path);
  const auto folder = walk(folder_path, Missing::give_up, entry.path);
  if (!folder || *folder == kNoNode) return {};
  if (const auto name = find(*folder, last); name != kNoNode) remove(name);
  return {};
}

Result<void> MergedTree::put(const LayerEntry& entry) {
  if (entry.path.empty()) {
    if (entry.type != EntryType::folder)
      return fail(merge_error(ErrorCode::layer_invalid, "/", "the root is no folder"));
    nodes_[kRoot].entry = &entry;
    return {};
  }
  const auto [folder_path, last] = split_last(entry.path);
  const auto folder = NANOBOX_TRY(walk(folder_path, Missing::create, entry.path));
  if (entry.type == EntryType::hard_link) return put_hard_link(entry, folder, last);

  const auto name = find(folder, last);
  const auto old = name == kNoNode ? kNoNode : names_[name].node;
  if (old != kNoNode) {
    const bool was_folder = nodes_[old].is_folder();
    const bool was_symlink = !was_folder && nodes_[old].entry->type == EntryType::symlink;
    if (entry.type == EntryType::missing_folder && (was_folder || was_symlink)) return {};
    if (entry.type == EntryType::folder && was_folder) {
      nodes_[old].entry = &entry;
      return {};
    }
    remove(name);
  }
  bind(folder, last, NANOBOX_TRY(add_node(&entry, folder, entry.path)));
  return {};
}

Result<void> MergedTree::put_hard_link(const LayerEntry& entry, std::uint32_t parent, std::string_view name) {
  const auto [target_folder, target_last] = split_last(entry.link);
  const auto folder = NANOBOX_TRY(walk(target_folder, Missing::give_up, entry.path));
  const auto target_name = folder == kNoNode || target_last.empty() ? kNoNode : find(folder, target_last);
  const auto target = target_name == kNoNode ? kNoNode : names_[target_name].node;
  if (target == kNoNode)
    return fail(merge_error(ErrorCode::layer_invalid, entry.path,
                            "its hard link's target \"" + std::string(entry.link) + "\" does not exist"));
  if (nodes_[target].is_folder())
    return fail(merge_error(ErrorCode::layer_invalid, entry.path,
                            "its hard link's target \"" + std::string(entry.link) + "\" is a folder"));
  const auto known = find(parent, name);
  if (known != kNoNode && names_[known].node == target) return {};
  if (nodes_.size() + names_.size() >= max_nodes_)
    return fail(merge_error(ErrorCode::layer_too_large, entry.path, "the image has too many entries"));
  ++nodes_[target].links;  // the target may lie below what the link replaces
  if (known != kNoNode) remove(known);
  --nodes_[target].links;
  bind(parent, name, target);
  return {};
}

}  // namespace nanobox
