#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "pipeline/boot/network/remote_networks.hpp"
#include "pipeline/sandbox.hpp"

namespace nanobox {

/// The sandboxes of each network group of a cluster, by node. Groups are named as SandboxRules::group: with their
/// owner. Not thread-safe.
class GroupMembers {
public:
  /// What is known of a sandbox now: it is a member where its mode is `internal`, it has an address and its VM may run.
  /// A lost one is what it was before, for its VM may run; of one that was not known before, a member.
  /// @returns the groups that changed
  std::set<std::string> put(const Sandbox& sandbox);
  std::set<std::string> remove(const std::string& id);

  std::vector<std::string> groups_on(const std::string& node_id) const;
  bool is_on(const std::string& group, const std::string& node_id) const;
  /// Its members on other nodes than that one, by id.
  std::vector<RemoteMember> elsewhere(const std::string& group, const std::string& node_id) const;

private:
  struct Member {
    std::string node_id;
    std::string group;  ///< empty: of none
    std::uint32_t address = 0;
    bool operator==(const Member&) const = default;
  };
  std::set<std::string> replace(const std::string& id, Member member);

  std::set<std::string> known_;
  std::map<std::string, Member> members_;                ///< by sandbox id; those of no group are not there
  std::map<std::string, std::set<std::string>> groups_;  ///< ids by group
};

/// The name that nobody else's group has.
std::string group_name(const std::string& owner, const std::string& group);

}  // namespace nanobox
