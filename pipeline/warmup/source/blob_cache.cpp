#include "pipeline/warmup/source/blob_cache.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <deque>
#include <optional>
#include <system_error>

#include "pipeline/warmup/source/part_file.hpp"
#include "pipeline/warmup/source/reference.hpp"
#include "pipeline/warmup/source/transfer.hpp"

namespace nanobox {

/// The transfers that one image began, taken by its threads one after the other.
struct TransferQueue {
  std::mutex mutex;
  std::deque<std::shared_ptr<Transfer>> waiting;

  std::shared_ptr<Transfer> take() {
    const std::lock_guard lock(mutex);
    if (waiting.empty()) return nullptr;
    auto next = std::move(waiting.front());
    waiting.pop_front();
    return next;
  }
};

namespace {

constexpr std::size_t kSideBySide = 4;

Result<void> make_folder(const std::filesystem::path& folder) {
  std::error_code problem;
  std::filesystem::create_directories(folder.parent_path(), problem);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return fail(errno_error(errno, "make folder", folder.string()));
  return {};
}

void remove_parts(const std::filesystem::path& folder) {
  std::error_code problem;
  for (const auto& entry : std::filesystem::directory_iterator(folder, problem))
    std::filesystem::remove_all(entry.path(), problem);
}

/// One image's interest in its blobs: adds up their progress, and takes itself off when stopped or destroyed.
class Interest : public std::enable_shared_from_this<Interest> {
public:
  explicit Interest(std::function<void(const StageProgress&)> report) : report_(std::move(report)) {}
  ~Interest() {
    stop_callback_.reset();
    leave();
  }
  Interest(const Interest&) = delete;
  Interest& operator=(const Interest&) = delete;

  void add(const std::shared_ptr<BlobArrival>& arrival) {
    const std::lock_guard lock(reporting_);
    arrivals_.push_back(arrival);
    total_bytes_ += arrival->size_bytes();
  }

  bool join(const std::shared_ptr<Transfer>& transfer, const std::shared_ptr<ImageSource>& source,
            std::chrono::steady_clock::time_point deadline) {
    auto progressed = [self = weak_from_this()] {
      if (const auto there = self.lock()) there->report();
    };
    if (!transfer->join(this, {.source = source, .deadline = deadline, .progressed = std::move(progressed)}))
      return false;
    transfers_.push_back(transfer);
    return true;
  }

  /// After the last `join`; ends what nobody else waits for.
  void leave() {
    for (const auto& transfer : transfers_) transfer->leave(this);
  }
  /// To be called once, after the last `join`.
  void leave_when(std::stop_token stop) {
    stop_callback_.emplace(std::move(stop), [this] { leave(); });
  }

  void report() {
    const std::lock_guard lock(reporting_);
    StageProgress progress{.done_bytes = 0, .total_bytes = total_bytes_, .detail = {}, .layers = {}};
    std::size_t whole = 0;
    for (const auto& arrival : arrivals_) {
      const auto there = arrival->available();
      progress.done_bytes += there;
      progress.layers.push_back(
          {.digest = arrival->digest(), .done_bytes = there, .total_bytes = arrival->size_bytes()});
      if (there == arrival->size_bytes()) ++whole;
    }
    progress.detail = std::to_string(whole) + " of " + std::to_string(arrivals_.size()) + " layers";
    report_(progress);
  }

private:
  const std::function<void(const StageProgress&)> report_;
  std::mutex reporting_;  ///< held while reporting too, so that what is reported never goes back
  std::vector<std::shared_ptr<BlobArrival>> arrivals_;
  std::uint64_t total_bytes_ = 0;
  std::vector<std::shared_ptr<Transfer>> transfers_;
  std::optional<std::stop_callback<std::function<void()>>> stop_callback_;
};

/// The blob as the cache holds it, or nothing.
std::shared_ptr<BlobArrival> arrived(const std::filesystem::path& folder, const Descriptor& blob) {
  UniqueFd file(::open(blob_path(folder, blob.digest).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0 || static_cast<std::uint64_t>(status.st_size) != blob.size)
    return nullptr;
  auto arrival = std::make_shared<BlobArrival>(blob.digest, blob.size, std::move(file));
  arrival->complete();
  return arrival;
}

}  // namespace

Result<std::shared_ptr<BlobCache>> BlobCache::open(const std::filesystem::path& folder) {
  NANOBOX_TRY(make_folder(folder));
  NANOBOX_TRY(make_folder(folder / "sha256"));
  NANOBOX_TRY(make_folder(folder / ".tmp"));
  remove_parts(folder / ".tmp");
  return std::shared_ptr<BlobCache>(new BlobCache(folder));
}

BlobCache::~BlobCache() {
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [digest, transfer] : transfers_) transfer->stop();
    for (auto& worker : workers_) worker.thread.request_stop();
  }
  workers_.clear();  // waits for the threads
}

std::filesystem::path BlobCache::path(const std::string& digest) const {
  return blob_path(folder_, digest);
}

bool BlobCache::has(const std::string& digest) const {
  std::error_code ignored;
  return is_digest(digest) && std::filesystem::is_regular_file(path(digest), ignored);
}

void BlobCache::forget(const std::string& digest) {
  std::error_code ignored;
  if (is_digest(digest)) std::filesystem::remove(path(digest), ignored);
}

void BlobCache::abandon(const std::vector<Descriptor>& blobs) {
  const std::lock_guard lock(mutex_);
  for (const auto& blob : blobs) {
    const auto found = transfers_.find(blob.digest);
    if (found != transfers_.end() && !found->second->abandon()) continue;
    std::error_code ignored;
    if (is_digest(blob.digest)) std::filesystem::remove(part_path(folder_, blob.digest), ignored);
  }
}

void BlobCache::reap() {
  std::erase_if(workers_, [](const Worker& worker) { return worker.ended->load(); });
  std::erase_if(transfers_, [](const auto& entry) { return entry.second->ended(); });
}

Result<std::shared_ptr<Transfer>> BlobCache::new_transfer(const Descriptor& blob) {
  auto part = NANOBOX_TRY(PartFile::open(folder_, blob.digest, blob.size));
  auto arrival = std::make_shared<BlobArrival>(blob.digest, blob.size, NANOBOX_TRY(part.share()));
  return std::make_shared<Transfer>(blob, std::move(part), std::move(arrival));
}

Result<FetchingBlobs> BlobCache::fetch(const StageContext& context, std::shared_ptr<ImageSource> source,
                                       const std::vector<Descriptor>& blobs) {
  NANOBOX_TRY(context.check("fetch blobs"));
  const std::lock_guard lock(mutex_);
  reap();
  const auto interest = std::make_shared<Interest>(context.report);
  const auto queue = std::make_shared<TransferQueue>();
  std::map<std::string, std::shared_ptr<BlobArrival>> known;
  FetchingBlobs fetching;
  for (const auto& blob : blobs) {
    auto& arrival = known[blob.digest];
    if (!arrival) {
      arrival = NANOBOX_TRY(arrival_of(context, blob, [&](const std::shared_ptr<Transfer>& transfer, bool fresh) {
        if (!interest->join(transfer, source, context.deadline)) return false;
        if (fresh) queue->waiting.push_back(transfer);
        return true;
      }));
      interest->add(arrival);
    }
    if (arrival->size_bytes() != blob.size)
      return fail({.code = ErrorCode::manifest_invalid,
                   .attempted = "fetch blobs",
                   .subject = blob.digest,
                   .reason = "it is " + std::to_string(blob.size) + " bytes here and " +
                             std::to_string(arrival->size_bytes()) + " elsewhere",
                   .mend = "try again; if it stays so, the image is damaged: push it again",
                   .transient = true});
    fetching.arrivals.push_back(arrival);
  }
  NANOBOX_TRY(start_workers(queue));
  interest->leave_when(context.stop);
  interest->report();
  // Its destructor would be too late: a download that tells its progress holds it too.
  fetching.downloads = {interest.get(), [interest](const void*) { interest->leave(); }};
  return fetching;
}

/// The blob from the cache, from a transfer that `join` takes part in, or from a new one.
Result<std::shared_ptr<BlobArrival>> BlobCache::arrival_of(
    const StageContext& context, const Descriptor& blob,
    const std::function<bool(const std::shared_ptr<Transfer>& transfer, bool fresh)>& join) {
  if (!is_digest(blob.digest))
    return fail({.code = ErrorCode::manifest_invalid,
                 .attempted = "fetch blobs",
                 .subject = blob.digest,
                 .reason = "it is no digest of sha256",
                 .mend = ""});
  if (const auto found = transfers_.find(blob.digest); found != transfers_.end()) {
    if (join(found->second, false)) return found->second->arrival();
    (void)found->second->arrival()->wait_complete(context.stop);  // it is ending: its file is free then
    NANOBOX_TRY(context.check("fetch blobs"));
    transfers_.erase(found);
  }
  if (auto there = arrived(folder_, blob)) return there;
  const auto transfer = NANOBOX_TRY(new_transfer(blob));
  join(transfer, true);
  transfers_[blob.digest] = transfer;
  return transfer->arrival();
}

Result<void> BlobCache::start_workers(const std::shared_ptr<TransferQueue>& queue) {
  const auto count = std::min(kSideBySide, queue->waiting.size());
  for (std::size_t i = 0; i < count; ++i) {
    auto ended = std::make_shared<std::atomic<bool>>(false);
    try {
      std::jthread thread([queue, ended] {
        while (const auto transfer = queue->take()) transfer->run();
        ended->store(true);
      });
      workers_.push_back({.thread = std::move(thread), .ended = std::move(ended)});
    } catch (const std::system_error& problem) {
      if (i > 0) break;  // fewer do it too
      return fail({.code = ErrorCode::io_failed,
                   .attempted = "start download",
                   .subject = "",
                   .reason = problem.what(),
                   .mend = "raise the limit of threads",
                   .transient = true});
    }
  }
  return {};
}

}  // namespace nanobox
