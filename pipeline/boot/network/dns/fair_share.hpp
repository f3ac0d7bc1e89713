#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>

namespace nanobox {

/// Who has how many of a bounded number of places. When all are taken, who has the most gives one up to a client that
/// has at least two less: a crowd of floods cannot lock anybody out.
class FairShare {
public:
  FairShare(std::size_t places, std::size_t places_per_client) : places_(places), per_client_(places_per_client) {}

  enum class Verdict : std::uint8_t { admit, displace, refuse };
  struct Admission {
    Verdict verdict = Verdict::refuse;
    std::uint32_t displaced = 0;  ///< of `displace`: the client that must give one up first
  };
  Admission ask(std::uint32_t client) const;

  void add(std::uint32_t client);
  void remove(std::uint32_t client);
  std::size_t taken() const { return taken_; }
  std::size_t taken_by(std::uint32_t client) const;

private:
  std::size_t places_, per_client_;
  std::size_t taken_ = 0;
  std::unordered_map<std::uint32_t, std::size_t> by_client_;
};

}  // namespace nanobox
