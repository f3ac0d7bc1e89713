#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "pipeline/boot/vmm/vm_process.hpp"

namespace nanobox::test {

/// A data folder with two programs in it, a confinement host for it, and everything that was started there, which it
/// ends and removes; afterwards it checks that no cgroup, process or mount is left.
class ConfineFixture {
public:
  ConfineFixture();
  ~ConfineFixture();

  std::filesystem::path folder;
  ConfinementHost host;

  /// A stand-in VMM with these arguments, a run folder and a writable folder /work of its own, and a user of its own.
  VmProcessSpec spec(const std::string& name, std::vector<std::string> arguments);
  /// Spawns, and remembers to clean up.
  VmProcess spawn(const VmProcessSpec& spec);
  void remember(const VmProcessIdentity& identity) { started_.push_back(identity); }

private:
  uid_t next_uid_ = 61'000;
  std::vector<VmProcessIdentity> started_;
};

/// Both ends of a pipe, O_CLOEXEC.
struct TestPipe {
  TestPipe();
  UniqueFd read, write;
  /// What comes until the last writer closes.
  std::string read_all();
  std::string read_line();
};

bool ends_within(const VmProcess& process, std::chrono::milliseconds patience);
std::string read_file(const std::filesystem::path& path);
/// "Uid" → "61000\t61000…" of /proc/PID/status.
std::string status_field(pid_t pid, const std::string& name);

}  // namespace nanobox::test
