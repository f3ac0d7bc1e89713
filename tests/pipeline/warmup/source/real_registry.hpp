#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "config/child_process.hpp"
#include "config/unique_fd.hpp"
#include "temp_folder.hpp"
#include "test_image.hpp"

namespace nanobox {

/// Debian's docker-registry on a loopback port, with its data in a folder of its own; ended with the object.
class RealRegistry {
public:
  struct Options {
    bool password = false;  ///< asks for user "web", password "s3cret"
    bool tls = false;       ///< with a certificate for 127.0.0.1 that only `ca_file` vouches for
  };
  explicit RealRegistry(Options options);
  RealRegistry() : RealRegistry(Options{}) {}

  std::string host() const { return "127.0.0.1:" + std::to_string(port_); }
  std::filesystem::path ca_file() const { return folder_ / "cert.pem"; }
  std::filesystem::path data() const { return folder_ / "data"; }
  void push(const TestImage& image, const std::string& repository, const std::string& tag);
  void push_index(const std::string& index, const std::string& repository, const std::string& tag);

private:
  void put_blob(const std::string& repository, const std::string& bytes);
  void put_manifest(const std::string& repository, const std::string& reference, const std::string& type,
                    const std::string& bytes);
  std::string send(const std::string& method, const std::string& url, const std::string& type, const std::string& body);

  TempFolder folder_;
  Options options_;
  UniqueFd log_;
  std::optional<ChildProcess> process_;
  std::uint16_t port_ = 0;
};

}  // namespace nanobox
