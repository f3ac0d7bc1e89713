#pragma once

#include "actors/sandbox_steps.hpp"

namespace nanobox {

// What pause, resume, fork and snapshot have in common; all on the sandbox registry's thread.

inline constexpr std::chrono::minutes kSaveDeadline{10};
/// Every layer costs the VMM time and an open file.
inline constexpr std::size_t kLongestChain = 8;

/// One saving of a sandbox at a time; the others wait for their turn, which each ends with `turn_over`.
void in_turn(SandboxRegistrySelf self, const std::string& id, std::function<void()> work);
void turn_over(SandboxRegistrySelf self, const std::string& id);

/// The file that its VMM maps: the template's memory, or nothing but a hole. Blocking, briefly.
Result<std::filesystem::path> memory_base(const Services& services, const Sandbox& sandbox);
/// A name for a new saved state.
std::filesystem::path new_folder(const Services& services, const std::string& sandbox_id);
/// What every saving of a sandbox has in common. Its folder is kept from being collected until `half_saved` lets go.
Result<SaveOrder> order_for(SandboxRegistrySelf self, const Sandbox& sandbox, std::filesystem::path folder);
/// The sandbox as it is now, if it still runs.
Result<Sandbox> running(SandboxRegistrySelf self, const std::string& id, std::string attempted);

/// Says in the record that what the sandbox wrote so far is about to become a layer.
Result<void> announce_freeze(SandboxRegistrySelf self, Sandbox& sandbox, SaveOrder& order);
/// A freeze that did not happen is taken out of the record again.
void freeze_failed(SandboxRegistrySelf self, const std::string& id);
/// Of a chain that has grown too long the sandboxes' own layers become one: `into`. The template's stay. Blocking.
Result<void> shorten_chain(const Services& services, std::vector<std::filesystem::path>& layers,
                           const std::filesystem::path& into, std::uint64_t disk_bytes);

/// A pause's or fork's run: its first stage begins, ends with what was saved, and the second follows.
RunRecord begin_run(SandboxRegistrySelf self, std::string pipeline, const Sandbox& sandbox,
                    const std::array<StageDescription, 2>& stages);
void saved_stage(SandboxRegistrySelf self, RunRecord& run, const Saved& saved);
void end_run(SandboxRegistrySelf self, RunRecord& run, const std::optional<Error>& error);

}  // namespace nanobox
