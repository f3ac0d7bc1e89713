#include "tools/nanobox/copy_progress.hpp"

#include <unistd.h>

#include "config/byte_size.hpp"
#include "tools/nanobox/output.hpp"
#include "tools/nanobox/raw_terminal.hpp"
#include "tools/nanobox/warmup_progress.hpp"

namespace nanobox::cli {
namespace {

constexpr std::chrono::milliseconds kRedraw{200};

}  // namespace

CopyProgress::CopyProgress(std::string name, std::uint64_t total_bytes, bool quiet)
    : name_(std::move(name)), total_bytes_(total_bytes), shown_(!quiet && ::isatty(STDERR_FILENO) == 1) {}

CopyProgress::~CopyProgress() {
  if (drawn_) (void)write_all(STDERR_FILENO, "\r\x1b[2K");
}

void CopyProgress::add(std::size_t bytes) {
  done_bytes_ += bytes;
  const auto now = Clock::now();
  if (!shown_ || now < next_) return;
  next_ = now + kRedraw;
  drawn_ = true;
  const double seconds = std::chrono::duration<double>(now - begun_).count();
  const auto rate = static_cast<std::uint64_t>(static_cast<double>(done_bytes_) / seconds);
  std::string detail;
  // First, as a narrow terminal cuts the end off.
  if (rate > 0 && total_bytes_ > done_bytes_) {
    const auto left = (total_bytes_ - done_bytes_) / rate;
    detail = std::to_string(left / 60) + ":" + (left % 60 < 10 ? "0" : "") + std::to_string(left % 60) + " left  ";
  }
  detail += format_byte_size(rate) + "/s";
  const auto columns = terminal_size().columns;
  (void)write_all(STDERR_FILENO, "\r\x1b[2K" + draw({.name = name_,
                                                     .status = "running",
                                                     .done_bytes = done_bytes_,
                                                     .total_bytes = total_bytes_,
                                                     .duration_ms = 0,
                                                     .detail = std::move(detail)},
                                                    columns > 1 ? columns - 1 : 1));
}

}  // namespace nanobox::cli
