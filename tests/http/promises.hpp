#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nanobox::test {

/// What the edge promises and stock Pistache does not keep, asked of a running server with one worker that serves
/// GET /hello (a short answer), POST /echo (its body), GET /big (50 MB) and GET /stream ("one", "two", "three", written
/// by another thread). The same questions go to ours, which must keep every one, and to the stock library, which must
/// break every one.
struct Promise {
  std::string name;
  bool (*is_kept)(std::uint16_t port);
};

const std::vector<Promise>& promises();

inline constexpr std::size_t big_answer_bytes = 50'000'000;

}  // namespace nanobox::test
