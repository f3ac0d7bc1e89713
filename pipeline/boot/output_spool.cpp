#include "pipeline/boot/output_spool.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace nanobox {

bool SpoolBudget::take(std::uint64_t bytes) {
  const auto wanted = static_cast<std::int64_t>(bytes);
  if (left_.fetch_sub(wanted) >= wanted) return true;
  left_ += wanted;
  return false;
}

void SpoolBudget::give_back(std::uint64_t bytes) {
  left_ += static_cast<std::int64_t>(bytes);
}

OutputSpool::OutputSpool(std::filesystem::path folder, std::shared_ptr<SpoolBudget> budget, std::uint64_t max_bytes)
    : folder_(std::move(folder)), budget_(std::move(budget)), max_bytes_(max_bytes) {}

OutputSpool::~OutputSpool() {
  budget_->give_back(in_file_);
}

bool OutputSpool::appends_to_file(std::size_t bytes) const {
  const auto wanted = std::min<std::uint64_t>(bytes, max_bytes_ - size());
  return wanted > 0 && size() + wanted > memory_max;
}

Result<void> OutputSpool::append(std::string_view bytes) {
  if (bytes.size() > max_bytes_ - size()) {
    truncated_ = true;
    bytes = bytes.substr(0, max_bytes_ - size());
  }
  const auto head = bytes.substr(0, std::min(bytes.size(), memory_max - memory_.size()));
  const auto rest = bytes.substr(head.size());
  if (!rest.empty()) {
    if (!file_) {
      file_ = UniqueFd(::open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
      if (!file_) return fail(errno_error(errno, "keep a command's output in", folder_.string()));
    }
    if (!budget_->take(rest.size()))
      return fail({.code = ErrorCode::no_capacity,
                   .attempted = "keep a command's output",
                   .subject = "",
                   .reason = "the outputs of all commands take too much room now",
                   .mend = "ask for less max_output_bytes, or stream the output",
                   .retry_after_sec = 5});
    for (std::size_t done = 0; done < rest.size();) {
      const auto put =
          ::pwrite(file_.get(), rest.data() + done, rest.size() - done, static_cast<off_t>(in_file_ + done));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) {
        budget_->give_back(rest.size());
        return fail(errno_error(errno, "keep a command's output in", folder_.string()));
      }
      done += static_cast<std::size_t>(put);
    }
    in_file_ += rest.size();
  }
  memory_ += head;
  check_.feed(bytes);
  return {};
}

Result<std::string> OutputSpool::read(std::uint64_t offset, std::size_t max) const {
  if (offset < memory_.size()) return memory_.substr(offset, max);
  std::string piece(std::min<std::uint64_t>(max, size() - std::min(offset, size())), '\0');
  for (std::size_t done = 0; done < piece.size();) {
    const auto got = ::pread(file_.get(), piece.data() + done, piece.size() - done,
                             static_cast<off_t>(offset - memory_.size() + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return fail(errno_error(got < 0 ? errno : EIO, "read a command's output", ""));
    done += static_cast<std::size_t>(got);
  }
  return piece;
}

}  // namespace nanobox
