#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "config/error.hpp"
#include "pipeline/stage_context.hpp"
#include "pipeline/warmup/blob_arrival.hpp"
#include "pipeline/warmup/source/image_source.hpp"
#include "pipeline/warmup/types.hpp"

namespace nanobox {

class Transfer;
struct TransferQueue;

/// Layers on their way: one arrival a descriptor, by position; equal digests share one.
struct FetchingBlobs {
  std::vector<std::shared_ptr<BlobArrival>> arrivals;
  std::shared_ptr<const void> downloads;  ///< letting go of it ends what nobody else waits for; never blocks
};

/// Verified blobs by digest, `<folder>/sha256/<hex>`, and those on their way, `<folder>/.tmp/<hex>.part`, which a later
/// try goes on with. One process owns a folder. Thread-safe.
class BlobCache {
public:
  /// Makes the folders (0700) and removes the parts that an earlier process left. @errors io_failed · disk_full
  static Result<std::shared_ptr<BlobCache>> open(const std::filesystem::path& folder);
  /// Ends all downloads and waits for their threads.
  ~BlobCache();
  BlobCache(const BlobCache&) = delete;
  BlobCache& operator=(const BlobCache&) = delete;

  /// Answers at once with arrivals for `blobs`: complete ones from the cache, ones that another image began, and new
  /// ones read from `source` by at most four threads of this call.
  Result<FetchingBlobs> fetch(const StageContext& context, std::shared_ptr<ImageSource> source,
                              const std::vector<Descriptor>& blobs);

  /// No later try will ask for what is still missing of `blobs`: removes their parts, but those that another image
  /// waits for.
  void abandon(const std::vector<Descriptor>& blobs);

  /// Where the blob is, or will be once complete.
  std::filesystem::path path(const std::string& digest) const;
  bool has(const std::string& digest) const;
  /// Removes a blob that turned out to be damaged; readers that have it open keep it.
  void forget(const std::string& digest);

private:
  struct Worker {
    std::jthread thread;
    std::shared_ptr<const std::atomic<bool>> ended;
  };
  explicit BlobCache(std::filesystem::path folder) : folder_(std::move(folder)) {}
  void reap();
  Result<std::shared_ptr<BlobArrival>> arrival_of(
      const StageContext& context, const Descriptor& blob,
      const std::function<bool(const std::shared_ptr<Transfer>& transfer, bool fresh)>& join);
  Result<std::shared_ptr<Transfer>> new_transfer(const Descriptor& blob);
  Result<void> start_workers(const std::shared_ptr<TransferQueue>& queue);

  const std::filesystem::path folder_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Transfer>> transfers_;  ///< by digest
  std::vector<Worker> workers_;
};

}  // namespace nanobox
