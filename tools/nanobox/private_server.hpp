#pragma once

#include <filesystem>
#include <optional>

#include "config/error.hpp"
#include "config/settings.hpp"
#include "config/unique_fd.hpp"
#include "tools/nanobox/api_client.hpp"
#include "tools/nanobox/interruption.hpp"

namespace nanobox::cli {

/// A nanoboxd that clients keep for themselves where no other one runs: on a free loopback port, with a random key, in
/// DATA/client (0700; images stay cached there). Clients share it; the last one to leave stops it when no sandbox is
/// left. Files: `start.lock` (one client starts or stops at a time), `users.lock` (shared by the clients that use it),
/// `key`, `nanobox.toml`, `nanoboxd.log`, and the daemon's own.
class PrivateServer {
public:
  /// Joins the one that runs; nothing: none does.
  static Result<std::optional<PrivateServer>> join(const std::filesystem::path& data, Interruption& interruption);
  /// Joins it or starts it. @errors file_unreadable: no nanoboxd · not_ready: it ended at once (with its last words)
  static Result<PrivateServer> join_or_start(const std::filesystem::path& data, const Environment& environment,
                                             Interruption& interruption);

  PrivateServer(PrivateServer&&) noexcept = default;
  PrivateServer& operator=(PrivateServer&&) noexcept = default;
  ~PrivateServer();

  const ServerAddress& address() const { return address_; }

private:
  PrivateServer(std::filesystem::path folder, ServerAddress address, UniqueFd users)
      : folder_(std::move(folder)), address_(std::move(address)), users_(std::move(users)) {}
  static Result<std::optional<PrivateServer>> join_locked(const std::filesystem::path& folder,
                                                          Interruption& interruption);

  std::filesystem::path folder_;
  ServerAddress address_;
  UniqueFd users_;
};

/// The program of that name: beside this one, else in PATH. @errors file_unreadable
Result<std::filesystem::path> find_program(const std::string& name, const Environment& environment);

}  // namespace nanobox::cli
