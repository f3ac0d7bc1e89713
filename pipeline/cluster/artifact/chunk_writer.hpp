#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "pipeline/cluster/artifact/partial_artifact.hpp"

namespace nanobox {

/// Threads that verify and write chunks while the next arrive: a digest takes longer than a chunk takes to arrive. At
/// its end it has stored all that it was given, but for what comes after a failure.
class ChunkWriter {
public:
  /// @param partial  nobody else touches it while this lives
  ChunkWriter(PartialArtifact& partial, std::size_t threads, std::size_t buffers);
  ~ChunkWriter();
  ChunkWriter(const ChunkWriter&) = delete;
  ChunkWriter& operator=(const ChunkWriter&) = delete;

  /// Room for a chunk, to be handed back by `store`; waits until there is some. @errors those of PartialArtifact::write
  Result<std::byte*> acquire();
  /// @param bytes  how many of them are the chunk's data
  void store(std::size_t chunk, std::byte* buffer, std::size_t bytes);
  /// Waits until everything is stored. @errors those of PartialArtifact::write
  Result<void> finish();
  /// Data stored so far, by this and before, in bytes.
  std::uint64_t stored_bytes() const;

private:
  struct Job {
    std::size_t chunk;
    std::byte* buffer;
    std::size_t bytes;
  };
  void run();

  PartialArtifact& partial_;
  std::vector<std::unique_ptr<std::byte[]>> buffers_;
  mutable std::mutex mutex_;
  std::condition_variable given_, taken_;
  std::vector<std::byte*> free_;
  std::deque<Job> jobs_;
  std::optional<Error> error_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace nanobox
