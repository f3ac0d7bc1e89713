#include "pipeline/boot/vmm/console_ring.hpp"

#include <algorithm>

namespace nanobox {

namespace {

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

void ConsoleRing::append(std::span<const std::byte> bytes) {
  auto text = as_text(bytes);
  total_ += text.size();
  if (text.size() > capacity_) text.remove_prefix(text.size() - capacity_);
  const auto fresh = std::min(text.size(), capacity_ - bytes_.size());
  bytes_.insert(bytes_.end(), text.begin(), text.begin() + static_cast<std::ptrdiff_t>(fresh));
  for (const char byte : text.substr(fresh)) {
    bytes_[oldest_] = byte;
    oldest_ = oldest_ + 1 == capacity_ ? 0 : oldest_ + 1;
  }
}

std::string ConsoleRing::tail(std::size_t max) const {
  std::string text(bytes_.begin() + static_cast<std::ptrdiff_t>(oldest_), bytes_.end());
  text.append(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(oldest_));
  if (text.size() > max) text.erase(0, text.size() - max);
  return text;
}

std::pair<std::string, std::uint64_t> ConsoleRing::since(std::uint64_t offset, std::size_t max) const {
  const auto first = total_ - bytes_.size();
  const auto begin = std::clamp(offset, first, total_);
  const auto count = std::min<std::uint64_t>(max, total_ - begin);
  std::string text;
  text.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) text += bytes_[(oldest_ + begin - first + i) % bytes_.size()];
  return {std::move(text), begin + count};
}

bool StreamMark::seen(std::span<const std::byte> piece) {
  if (seen_) return true;
  kept_ += as_text(piece);
  seen_ = kept_.find(text_) != std::string::npos;
  if (seen_)
    kept_.clear();
  else if (kept_.size() >= text_.size())
    kept_.erase(0, kept_.size() - text_.size() + 1);
  return seen_;
}

}  // namespace nanobox
