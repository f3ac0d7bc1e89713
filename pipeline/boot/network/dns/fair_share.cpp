#include "pipeline/boot/network/dns/fair_share.hpp"

#include <algorithm>

namespace nanobox {

FairShare::Admission FairShare::ask(std::uint32_t client) const {
  const auto own = taken_by(client);
  if (own >= per_client_) return {Verdict::refuse};
  if (taken_ < places_) return {Verdict::admit};
  const auto most = std::ranges::max_element(by_client_, {}, [](const auto& one) { return one.second; });
  if (most == by_client_.end() || most->second < own + 2) return {Verdict::refuse};
  return {Verdict::displace, most->first};
}

void FairShare::add(std::uint32_t client) {
  ++by_client_[client];
  ++taken_;
}

void FairShare::remove(std::uint32_t client) {
  const auto found = by_client_.find(client);
  if (found == by_client_.end()) return;
  --taken_;
  if (--found->second == 0) by_client_.erase(found);
}

std::size_t FairShare::taken_by(std::uint32_t client) const {
  const auto found = by_client_.find(client);
  return found == by_client_.end() ? 0 : found->second;
}

}  // namespace nanobox
