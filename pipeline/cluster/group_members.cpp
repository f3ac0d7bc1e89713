#include "pipeline/cluster/group_members.hpp"

#include <algorithm>

namespace nanobox {

std::string group_name(const std::string& owner, const std::string& group) {
  return owner + '\0' + group;
}

std::set<std::string> GroupMembers::put(const Sandbox& sandbox) {
  Member member{.node_id = sandbox.node_id, .group = {}, .address = 0};
  const auto address = parse_ipv4(sandbox.ip.value_or(""));
  const bool is_known = !known_.insert(sandbox.id).second;
  if (sandbox.status == SandboxStatus::lost && is_known) return {};
  const bool may_run = sandbox.status == SandboxStatus::running || sandbox.status == SandboxStatus::pausing ||
                       sandbox.status == SandboxStatus::lost;
  if (may_run && sandbox.network.mode == "internal" && address) {
    member.group = group_name(sandbox.owner, sandbox.network.group);
    member.address = *address;
  }
  return replace(sandbox.id, std::move(member));
}

std::set<std::string> GroupMembers::remove(const std::string& id) {
  known_.erase(id);
  return replace(id, {});
}

std::set<std::string> GroupMembers::replace(const std::string& id, Member member) {
  std::set<std::string> changed;
  if (const auto known = members_.find(id); known != members_.end()) {
    if (known->second == member) return {};
    const auto group = groups_.find(known->second.group);
    group->second.erase(id);
    if (group->second.empty()) groups_.erase(group);
    changed.insert(known->second.group);
    members_.erase(known);
  }
  if (member.group.empty()) return changed;
  changed.insert(member.group);
  groups_[member.group].insert(id);
  members_[id] = std::move(member);
  return changed;
}

std::vector<std::string> GroupMembers::groups_on(const std::string& node_id) const {
  std::vector<std::string> found;
  for (const auto& [group, ids] : groups_)
    if (is_on(group, node_id)) found.push_back(group);
  return found;
}

bool GroupMembers::is_on(const std::string& group, const std::string& node_id) const {
  const auto found = groups_.find(group);
  return found != groups_.end() &&
         std::ranges::any_of(found->second, [&](const auto& id) { return members_.at(id).node_id == node_id; });
}

std::vector<RemoteMember> GroupMembers::elsewhere(const std::string& group, const std::string& node_id) const {
  std::vector<RemoteMember> found;
  if (const auto ids = groups_.find(group); ids != groups_.end())
    for (const auto& id : ids->second)
      if (const auto& member = members_.at(id); member.node_id != node_id)
        found.push_back({.id = id, .address = member.address});
  return found;
}

}  // namespace nanobox
