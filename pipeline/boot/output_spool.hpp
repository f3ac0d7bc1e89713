#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "config/error.hpp"
#include "config/unique_fd.hpp"
#include "config/utf8.hpp"

namespace nanobox {

/// The bytes that the outputs of all commands may take on disk together. Thread-safe.
class SpoolBudget {
public:
  explicit SpoolBudget(std::uint64_t max_bytes) : left_(static_cast<std::int64_t>(max_bytes)) {}
  bool take(std::uint64_t bytes);
  void give_back(std::uint64_t bytes);

private:
  std::atomic<std::int64_t> left_;
};

/// What a command wrote to one of its outputs, for one answer: the first MiB in memory, the rest in a file without a
/// name. Not thread-safe while it grows.
class OutputSpool {
public:
  static constexpr std::size_t memory_max = std::size_t{1} << 20;

  /// @param folder     where the file is made, once it is needed
  /// @param max_bytes  what comes beyond is dropped, see `truncated`
  OutputSpool(std::filesystem::path folder, std::shared_ptr<SpoolBudget> budget, std::uint64_t max_bytes);
  ~OutputSpool();
  OutputSpool(const OutputSpool&) = delete;
  OutputSpool& operator=(const OutputSpool&) = delete;

  /// Whether `append` of so many bytes more writes to the file: blocking.
  bool appends_to_file(std::size_t bytes) const;
  /// @errors no_capacity: the budget is spent · disk_full · io_failed; nothing of it counts then
  Result<void> append(std::string_view bytes);
  /// Whether something was dropped.
  bool truncated() const { return truncated_; }

  std::uint64_t size() const { return memory_.size() + in_file_; }
  /// Whether all of it is text.
  bool is_text() const { return check_.valid(); }
  /// At most `max` bytes from `offset` on; blocking beyond `memory_max`. @errors io_failed
  Result<std::string> read(std::uint64_t offset, std::size_t max) const;

private:
  const std::filesystem::path folder_;
  const std::shared_ptr<SpoolBudget> budget_;
  const std::uint64_t max_bytes_;
  std::string memory_;
  UniqueFd file_;
  std::uint64_t in_file_ = 0;
  Utf8Check check_;
  bool truncated_ = false;
};

/// Where outputs are kept that are too large for memory.
struct SpoolPlace {
  std::filesystem::path folder;
  std::shared_ptr<SpoolBudget> budget;
};

}  // namespace nanobox
