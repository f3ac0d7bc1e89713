#pragma once

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "pipeline/boot/snapshot/snapshot_store.hpp"

namespace nanobox::test {

inline void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

/// A folder of its own for one test, and saved states with made-up files in it.
class SavedFolder {
public:
  SavedFolder() {
    std::string name = std::filesystem::temp_directory_path() / "nbsaved-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    root = name;
  }
  SavedFolder(const SavedFolder&) = delete;
  ~SavedFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(root, ignored);
  }

  /// Files of a saved state in `folder`, with their manifest.
  static SavedState fill(const std::filesystem::path& folder, std::size_t memory_bytes = 4096) {
    std::filesystem::create_directories(folder);
    write_file(folder / "state", "device state");
    write_file(folder / "mem", std::string(memory_bytes, 'm'));
    write_file(folder / "disk.qcow2", "disk");
    SavedState saved{.folder = folder,
                     .fingerprint = "some driver",
                     .tsc_khz = 2'000'000,
                     .vcpu = 2,
                     .memory_mb = 128,
                     .disk_bytes = 5U << 20,
                     .taken_at = WallTime{std::chrono::milliseconds(1'700'000'000'123)}};
    REQUIRE(write_manifest(saved, false));
    return saved;
  }

  /// A published snapshot of a template.
  static std::filesystem::path publish(SnapshotStore& store, const std::string& key, std::size_t memory_bytes = 4096) {
    auto half = store.begin();
    REQUIRE(half);
    fill(half->path(), memory_bytes);
    const auto folder = store.template_folder(key, 2, 128);
    REQUIRE(store.publish(std::move(*half), folder, true));
    return folder;
  }

  std::filesystem::path root;
};

}  // namespace nanobox::test
