#pragma once

#include "actors/concerns.hpp"
#include "actors/services.hpp"

namespace nanobox {

/// A VM that took a state, and where the time went.
struct RestoredMachine {
  std::shared_ptr<Vm> vm;
  std::string detail;
};

/// Takes the state into an empty VMM; grows the disk where the sandbox' is larger than the guest knows. Blocking.
Result<RestoredMachine> restore_vm(const Services& services, std::shared_ptr<EmptyVmm> empty, const DiskedBoot& disked,
                                   VmEvents events, std::uint64_t grown_disk);

/// Lets a VM of the pool have the sandbox' run folder and name in place of its own. Blocking.
Result<void> rename_vm(const Services& services, Vm& vm, const std::string& to);

}  // namespace nanobox

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(nanobox::RestoredMachine)
