#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/warmup/source/http_session.hpp"
#include "pipeline/warmup/source/image_source.hpp"
#include "pipeline/warmup/source/reference.hpp"
#include "pipeline/warmup/source/registry_auth.hpp"

namespace nanobox {

/// One image's side of a registry (distribution API v2).
///
/// Plain http is tried first for loopback, and last for `insecure_registries` (whose certificates are not checked);
/// nothing else is spoken to without TLS. Credentials go to the registry and to the token server it names, never to
/// where it redirects to, and never into an error.
/// @see https://github.com/opencontainers/distribution-spec,
/// https://distribution.github.io/distribution/spec/auth/token
class RegistryClient final : public ImageSource {
public:
  RegistryClient(RegistryReference reference, const ImageSourceSettings& settings,
                 std::optional<Credentials> credentials, HttpPolicy policy = {});

  Result<ManifestDocument> named_document(const StageContext& context) override;
  Result<ManifestDocument> document(const StageContext& context, const Descriptor& descriptor) override;
  Result<void> read_blob(const StageContext& context, const Descriptor& descriptor, std::uint64_t offset,
                         const BlobSink& sink) override;
  Result<ManifestDocument> named_digest(const StageContext& context) override;

private:
  using Sink = std::function<Result<void>(const HttpAnswer&, std::string_view)>;
  /// One thing asked of the registry: how to ask, and how to speak of it in errors.
  struct Question {
    std::string attempted, subject;
    std::string path;  ///< below the registry's root, or a whole url
    bool head = false;
    bool whole_url = false;  ///< another server's: without credentials
    std::vector<std::string> headers;
  };
  class Lease;

  Result<HttpAnswer> ask(const StageContext& context, const Question& question, const Sink& sink);
  Result<HttpAnswer> ask_with_scheme(const StageContext& context, const Question& question, const Sink& sink);
  Result<HttpAnswer> follow(const StageContext& context, HttpRequest request, const std::string& authorization,
                            const Sink& sink);
  Result<void> authenticate(const StageContext& context, const HttpAnswer& refusal, const std::string& tried);
  Result<std::string> fetch_token(const StageContext& context, const AuthChallenge& challenge);
  Result<ManifestDocument> fetch_document(const StageContext& context, const std::string& reference,
                                          const std::string& expected_digest);
  std::vector<std::string> schemes() const;
  std::string authorization() const;
  Error refusal_error(const Question& question, const HttpAnswer& answer) const;

  const RegistryReference reference_;
  const std::optional<Credentials> credentials_;
  const std::uint64_t max_manifest_bytes_;
  const std::string host_;
  const bool loopback_;
  const bool insecure_;
  HttpPolicy policy_;

  mutable std::mutex mutex_;
  std::string scheme_;         ///< empty until one has answered
  std::string authorization_;  ///< empty until asked for
  std::mutex authenticating_;  ///< one thread at a time fetches a token
  std::vector<std::unique_ptr<HttpSession>> idle_;
};

/// Whether `host[:port]` is this machine by its name alone: localhost, 127.0.0.0/8, [::1].
bool is_loopback(const std::string& registry);

}  // namespace nanobox
