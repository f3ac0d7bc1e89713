#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "config/error.hpp"

namespace nanobox {

/// Numbers for the groups of mode `internal`. A number belongs to one group as long as a sandbox is in it, so two
/// groups never share one. Not thread-safe.
class GroupIds {
public:
  /// The group's number, never 0; counts one user more. @param name  with its owner, so that owners never meet
  std::uint32_t acquire(const std::string& name);
  /// One user more of a group whose number is known: after a restart. @errors conflict when another has the number
  Result<void> adopt(const std::string& name, std::uint32_t id);
  /// Its number; 0: it has no user.
  std::uint32_t find(const std::string& name) const;
  /// One user less. Nothing happens for a group that has none.
  void release(const std::string& name);

private:
  struct Group {
    std::uint32_t id = 0;
    std::uint32_t users = 0;
  };
  std::map<std::string, Group> groups_;
  std::map<std::uint32_t, std::string> names_;
  std::uint32_t last_ = 0;
};

}  // namespace nanobox
