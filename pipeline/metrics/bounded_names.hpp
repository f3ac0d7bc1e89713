#pragma once

#include <cstddef>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

namespace nanobox {

/// Keeps the values of a label few, where others choose them: the first `most` that are seen stand for themselves,
/// every later one is "other". Thread-safe.
class BoundedNames {
public:
  explicit BoundedNames(std::size_t most) : most_(most) {}

  std::string operator()(std::string_view name) {
    const std::lock_guard lock(mutex_);
    if (names_.contains(name)) return std::string(name);
    if (names_.size() >= most_) return "other";
    return *names_.emplace(name).first;
  }

private:
  const std::size_t most_;
  std::mutex mutex_;
  std::set<std::string, std::less<>> names_;
};

}  // namespace nanobox
