#pragma once

#include <functional>
#include <optional>
#include <type_traits>

#include "config/error.hpp"
#include "config/unique_fd.hpp"

namespace nanobox {

/// A network namespace, held by a descriptor only: it ends, with all its links, when the last holder and the last
/// process inside are gone. Move-only. `run` may be called by several threads at once.
class NetworkNamespace {
public:
  /// A new, empty one. Blocking: it takes a thread of its own. @errors network_unavailable · io_failed
  static Result<NetworkNamespace> make();
  /// The calling thread's. @errors io_failed
  static Result<NetworkNamespace> current();
  explicit NetworkNamespace(UniqueFd fd) : fd_(std::move(fd)) {}

  /// For setns(2), or to be passed to a process.
  int fd() const noexcept { return fd_.get(); }

  /// Runs `work`, which returns a Result, inside, on a thread made for it, and waits. Sockets that it opens stay in the
  /// namespace. @errors those of `work` · network_unavailable when it cannot be entered
  template <class Work>
  std::invoke_result_t<Work> run(Work&& work) const {
    std::optional<std::invoke_result_t<Work>> answer;
    NANOBOX_TRY(enter([&] { answer.emplace(work()); }));
    return std::move(*answer);
  }

private:
  Result<void> enter(const std::function<void()>& work) const;

  UniqueFd fd_;
};

/// Writes a value below /proc/sys/ for the calling thread's network namespace. @errors network_unavailable
Result<void> write_sysctl(const std::string& name, std::string_view value);
/// @errors file_unreadable
Result<std::string> read_sysctl(const std::string& name);

/// Whether this host passes packets on (net.ipv4.ip_forward), which every mode but `isolated` needs.
Result<bool> forwards_packets();
/// Turns that on, for the whole host.
Result<void> forward_packets();

}  // namespace nanobox
