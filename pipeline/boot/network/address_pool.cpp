#include "pipeline/boot/network/address_pool.hpp"

#include <algorithm>

#include "pipeline/boot/network/subnet.hpp"

namespace nanobox {

AddressPool::AddressPool(Ipv4Subnet subnet, std::chrono::seconds rest)
    : subnet_(subnet),
      rest_(rest),
      first_(gateway_of(subnet) + 1),
      size_(sandbox_addresses(subnet)),
      free_(size_),
      states_(size_, State::free) {}

Result<std::uint32_t> AddressPool::take(Clock::time_point now) {
  wake(now);
  if (free_ == 0) {
    Error error{.code = ErrorCode::no_address,
                .attempted = "take an address",
                .subject = to_string(subnet_),
                .reason = "all " + std::to_string(size_) + " addresses are taken",
                .mend = "remove sandboxes, or set network.subnet to a larger network"};
    if (!resting_.empty()) {
      error.reason += " or were released less than " + std::to_string(rest_.count()) + " s ago";
      error.transient = true;
      const auto wait = std::chrono::ceil<std::chrono::seconds>(resting_.front().until - now).count();
      error.retry_after_sec = static_cast<std::uint32_t>(std::max<decltype(wait)>(wait, 1));
    }
    return fail(std::move(error));
  }
  while (states_[next_] != State::free) next_ = (next_ + 1) % size_;
  states_[next_] = State::taken;
  const auto address = first_ + next_;
  next_ = (next_ + 1) % size_;
  --free_;
  ++taken_;
  return address;
}

Result<void> AddressPool::reserve(std::uint32_t address) {
  Error error{.code = ErrorCode::invalid_value,
              .attempted = "reserve an address",
              .subject = ipv4_text(address),
              .reason = "it is no sandbox address of " + to_string(subnet_),
              .mend = ""};
  if (!holds(address)) return fail(std::move(error));
  auto& state = states_[address - first_];
  if (state == State::taken) {
    error.code = ErrorCode::conflict;
    error.reason = "another sandbox has it";
    return fail(std::move(error));
  }
  if (state == State::free) --free_;
  state = State::taken;
  ++taken_;
  return {};
}

void AddressPool::release(std::uint32_t address, Clock::time_point now) {
  if (!is_taken(address)) return;
  const auto index = address - first_;
  states_[index] = State::resting;
  resting_.push_back({index, now + rest_});
  --taken_;
}

bool AddressPool::is_taken(std::uint32_t address) const {
  return holds(address) && states_[address - first_] == State::taken;
}

void AddressPool::wake(Clock::time_point now) {
  while (!resting_.empty() && resting_.front().until <= now) {
    auto& state = states_[resting_.front().index];
    // Reserved and released again meanwhile, it rests twice: only the last entry ends that.
    const auto index = resting_.front().index;
    resting_.pop_front();
    const bool again = std::any_of(resting_.begin(), resting_.end(), [&](const auto& r) { return r.index == index; });
    if (state != State::resting || again) continue;
    state = State::free;
    ++free_;
  }
}

}  // namespace nanobox
