#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "pipeline/sandbox.hpp"
#include "pipeline/stage.hpp"

namespace nanobox {

struct BootRequest {
  Sandbox sandbox;
  ImageConfig image;                               ///< what commands get that do not say otherwise
  std::chrono::steady_clock::time_point received;  ///< when the server had the request; boot_time_ms counts from here
};

struct PlacedBoot {
  BootRequest request;
  std::string node_id;
};

struct AddressedBoot {
  PlacedBoot placed;
  std::optional<std::string> ip;  ///< none where the host can make no interface
};

struct NetworkedBoot {
  AddressedBoot addressed;
};

/// The files of one sandbox, made and owned by the disk keeper.
struct SandboxFiles {
  std::filesystem::path folder;       ///< [agent] rootfs_dir/<id>
  std::filesystem::path overlay;      ///< its qcow2
  std::filesystem::path memory_file;  ///< its guest memory, sparse
  std::filesystem::path run_dir;      ///< DATA/run/<short id>
};

struct DiskedBoot {
  NetworkedBoot networked;
  SandboxFiles files;
};

struct StartedVm {
  Sandbox sandbox;
  ImageConfig image;
};

struct ReadyGuest {
  Sandbox sandbox;
  ImageConfig image;
  std::int64_t boot_time_ms = 0;
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

struct ConfigureStage : StageDefaults {
  using Input = ReadyGuest;
  using Output = Sandbox;
  static constexpr std::string_view name = "configure", input = "ReadyGuest", output = "Sandbox";
  static constexpr Concern concern = Concern::vm_supervisor;
  static constexpr std::chrono::milliseconds deadline{30'000};
  static constexpr bool commits = true;
};

/// Template → sandbox, cold.
using BootPipeline =
    Pipeline<PlaceStage, AddressStage, NetworkStage, DiskStage, VmStage, HandshakeStage, ConfigureStage>;

}  // namespace nanobox
