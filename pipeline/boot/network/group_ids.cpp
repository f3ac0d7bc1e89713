#include "pipeline/boot/network/group_ids.hpp"

namespace nanobox {

std::uint32_t GroupIds::acquire(const std::string& name) {
  auto& group = groups_[name];
  if (group.users++ == 0) {
    do ++last_;
    while (last_ == 0 || names_.contains(last_));
    group.id = last_;
    names_[group.id] = name;
  }
  return group.id;
}

Result<void> GroupIds::adopt(const std::string& name, std::uint32_t id) {
  const auto known = groups_.find(name);
  const auto holder = names_.find(id);
  if (id == 0 || (known != groups_.end() && known->second.id != id) ||
      (holder != names_.end() && holder->second != name))
    return fail({.code = ErrorCode::conflict,
                 .attempted = "adopt network group",
                 .subject = name,
                 .reason = "its number " + std::to_string(id) + " does not fit the groups that are there",
                 .mend = ""});
  auto& group = groups_[name];
  group.id = id;
  ++group.users;
  names_[id] = name;
  return {};
}

std::uint32_t GroupIds::find(const std::string& name) const {
  const auto found = groups_.find(name);
  return found == groups_.end() ? 0 : found->second.id;
}

void GroupIds::release(const std::string& name) {
  const auto found = groups_.find(name);
  if (found == groups_.end() || --found->second.users > 0) return;
  names_.erase(found->second.id);
  groups_.erase(found);
}

}  // namespace nanobox
