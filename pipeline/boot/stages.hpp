#pragma once

#include <array>
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "pipeline/boot/snapshot/saved_state.hpp"
#include "pipeline/sandbox.hpp"
#include "pipeline/stage.hpp"

namespace nanobox {

/// What a copy of a guest comes from.
struct BootSource {
  SavedState saved;
  std::filesystem::path memory_base;   ///< that its VMM maps
  std::filesystem::path memory_layer;  ///< pages over it; empty: none
};

/// How a sandbox may come to be; `automatic` takes the fastest there is.
enum class BootWay : std::uint8_t { automatic = 1, pool, snapshot, cold };

/// What a VM is booted for.
enum class BootPurpose : std::uint8_t {
  sandbox = 1,
  pool,      ///< waits for its sandbox
  snapshot,  ///< a state is saved of it, to make copies of
};

struct BootRequest {
  Sandbox sandbox;
  BootWay way = BootWay::automatic;
  BootPurpose purpose = BootPurpose::sandbox;
  std::optional<BootSource> from = {};             ///< nothing: a cold boot
  std::string placement = {};                      ///< why it is on this node, for the run's record
  std::chrono::steady_clock::time_point received;  ///< when the server had the request; boot_time_ms counts from here
};

struct PlacedBoot {
  BootRequest request;
  std::string node_id;
  std::string detail = {};  ///< of the stage: why here, and what was fetched for it
};

/// Its sandbox has an address, where the host can make an interface.
struct AddressedBoot {
  PlacedBoot placed;
};

struct NetworkedBoot {
  AddressedBoot addressed;
};

/// The files of one sandbox, made and owned by the disk keeper.
struct SandboxFiles {
  std::filesystem::path folder;   ///< [agent] rootfs_dir/<id>
  std::filesystem::path overlay;  ///< its qcow2
  std::filesystem::path run_dir;  ///< DATA/run/<short id>
};

struct DiskedBoot {
  NetworkedBoot networked;
  SandboxFiles files;
};

struct StartedVm {
  Sandbox sandbox;
  std::uint64_t grown_disk = 0;  ///< bytes; 0: the disk is as large as the guest knows
  std::string detail = {};       ///< of the stage, for people: where a restore's time went
};

struct ReadyGuest {
  Sandbox sandbox;
  std::int64_t boot_time_ms = 0;
  std::uint64_t grown_disk = 0;
};

struct PlaceStage : StageDefaults {
  using Input = BootRequest;
  using Output = PlacedBoot;
  static constexpr std::string_view name = "place", input = "BootRequest", output = "PlacedBoot",
                                    undo = "give the reservation back";
  static constexpr Concern concern = Concern::scheduler;
  static constexpr std::chrono::milliseconds deadline{5'000};
};

struct AddressStage : StageDefaults {
  using Input = PlacedBoot;
  using Output = AddressedBoot;
  static constexpr std::string_view name = "address", input = "PlacedBoot", output = "AddressedBoot",
                                    undo = "release the address";
  static constexpr Concern concern = Concern::ip_allocator;
  static constexpr std::chrono::milliseconds deadline{5'000};
};

struct NetworkStage : StageDefaults {
  using Input = AddressedBoot;
  using Output = NetworkedBoot;
  static constexpr std::string_view name = "network", input = "AddressedBoot", output = "NetworkedBoot",
                                    undo = "remove the interface";
  static constexpr Concern concern = Concern::network_keeper;
  static constexpr std::chrono::milliseconds deadline{10'000};
};

struct DiskStage : StageDefaults {
  using Input = NetworkedBoot;
  using Output = DiskedBoot;
  static constexpr std::string_view name = "disk", input = "NetworkedBoot", output = "DiskedBoot",
                                    undo = "remove the sandbox's files";
  static constexpr Concern concern = Concern::disk_keeper;
  static constexpr std::chrono::milliseconds deadline{30'000};
};

struct VmStage : StageDefaults {
  using Input = DiskedBoot;
  using Output = StartedVm;
  static constexpr std::string_view name = "vm", input = "DiskedBoot", output = "StartedVm", undo = "end the VM";
  static constexpr Concern concern = Concern::vm_supervisor;
  static constexpr std::chrono::milliseconds deadline{60'000};
};

struct HandshakeStage : StageDefaults {
  using Input = StartedVm;
  using Output = ReadyGuest;
  static constexpr std::string_view name = "handshake", input = "StartedVm", output = "ReadyGuest";
  static constexpr Concern concern = Concern::vm_supervisor;
  static constexpr std::chrono::milliseconds deadline{120'000};
};

/// CONFIGURE for nobody: a copy's code is translated while nobody waits, as is most of what its sandbox will run.
struct RehearseStage : StageDefaults {
  using Input = ReadyGuest;
  using Output = ReadyGuest;
  static constexpr std::string_view name = "rehearse", input = "ReadyGuest", output = "ReadyGuest";
  static constexpr Concern concern = Concern::vm_supervisor;
  static constexpr std::chrono::milliseconds deadline{30'000};
};

struct ConfigureStage : StageDefaults {
  using Input = ReadyGuest;
  using Output = Sandbox;
  static constexpr std::string_view name = "configure", input = "ReadyGuest", output = "Sandbox";
  static constexpr Concern concern = Concern::vm_supervisor;
  static constexpr std::chrono::milliseconds deadline{30'000};
  static constexpr bool commits = true;
};

/// One instant of a running VM, seen to by its supervisor.
inline constexpr StageDescription save_stage{.name = "save",
                                             .concern = Concern::vm_supervisor,
                                             .input = "Sandbox",
                                             .output = "SavedState",
                                             .deadline = std::chrono::minutes{10},
                                             .retries = 0,
                                             .undo = "let the guest go on"};
/// A running sandbox → its state on disk.
inline constexpr std::array<StageDescription, 2> pause_stages{{save_stage,
                                                               {.name = "end",
                                                                .concern = Concern::vm_supervisor,
                                                                .input = "SavedState",
                                                                .output = "Sandbox",
                                                                .deadline = std::chrono::minutes{1},
                                                                .retries = 0,
                                                                .undo = ""}}};
/// A running sandbox → copies of it.
inline constexpr std::array<StageDescription, 2> fork_stages{{save_stage,
                                                              {.name = "boot",
                                                               .concern = Concern::vm_supervisor,
                                                               .input = "SavedState",
                                                               .output = "Sandboxes",
                                                               .deadline = std::chrono::minutes{5},
                                                               .retries = 0,
                                                               .undo = "end the children"}}};

/// Template → sandbox.
using BootPipeline =
    Pipeline<PlaceStage, AddressStage, NetworkStage, DiskStage, VmStage, HandshakeStage, ConfigureStage>;
/// Template → a VM that waits in a pool for its sandbox, which then only has to be configured.
using PoolPipeline =
    Pipeline<PlaceStage, AddressStage, NetworkStage, DiskStage, VmStage, HandshakeStage, RehearseStage>;

}  // namespace nanobox
