#include "pipeline/cluster/identity/node_identity.hpp"

#include "pipeline/cluster/identity/private_file.hpp"
#include "pipeline/json_text.hpp"

namespace nanobox {

namespace {

std::filesystem::path membership_file(const std::filesystem::path& data) {
  return identity_folder(data) / "identity.json";
}

tl::unexpected<Error> untrusted(std::string reason) {
  return fail({.code = ErrorCode::peer_untrusted,
               .attempted = "take an identity",
               .subject = "",
               .reason = std::move(reason),
               .mend = {}});
}

Result<NodeIdentity> from_files(std::string_view key_pem, std::string_view membership) {
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag>(membership.data(),
                                                                                         membership.size());
  if (document.HasParseError() || !document.IsObject()) return untrusted("identity.json holds no JSON object");
  return NodeIdentity::make(
      NANOBOX_TRY(PrivateKey::from_pem(key_pem)), NANOBOX_TRY(Certificate::from_pem(text_at(document, "certificate"))),
      NANOBOX_TRY(Certificate::from_pem(text_at(document, "ca_certificate"))), text_at(document, "control_address"));
}

}  // namespace

NodeIdentity::NodeIdentity(PrivateKey key, Certificate certificate, Certificate ca_certificate, PeerIdentity peer,
                           std::string control_address)
    : key_(std::move(key)),
      certificate_(std::move(certificate)),
      ca_certificate_(std::move(ca_certificate)),
      peer_(std::move(peer)),
      cluster_id_(ca_certificate_.key_digest()),
      control_address_(std::move(control_address)) {}

Result<NodeIdentity> NodeIdentity::make(PrivateKey key, Certificate certificate, Certificate ca_certificate,
                                        std::string control_address) {
  if (!ca_certificate.is_root()) return untrusted("the CA's certificate is none of a CA");
  if (!certificate.is_signed_by(ca_certificate)) return untrusted("the certificate is not signed by the CA");
  if (certificate.key_digest() != key.digest()) return untrusted("the certificate is for another key");
  auto peer = NANOBOX_TRY(certificate.identity());
  return NodeIdentity(std::move(key), std::move(certificate), std::move(ca_certificate), std::move(peer),
                      std::move(control_address));
}

Result<std::optional<NodeIdentity>> NodeIdentity::load(const std::filesystem::path& data) {
  const auto membership = NANOBOX_TRY(read_private_file(membership_file(data)));
  if (!membership) return std::nullopt;
  const auto key = NANOBOX_TRY(read_private_file(identity_key_file(data)));
  auto identity = from_files(key.value_or(""), *membership);
  if (identity) return std::optional(std::move(*identity));
  auto error = std::move(identity).error();
  error.code = ErrorCode::file_unreadable;
  error.attempted = "read this node's identity";
  error.subject = identity_folder(data);
  error.mend = "restore the folder, or delete it and join again";
  return fail(std::move(error));
}

Result<void> NodeIdentity::save(const std::filesystem::path& data) const {
  rapidjson::StringBuffer text;
  JsonWriter json(text);
  json.StartObject();
  put_text(json, "certificate", certificate_.pem());
  put_text(json, "ca_certificate", ca_certificate_.pem());
  put_text(json, "control_address", control_address_);
  json.EndObject();
  NANOBOX_TRY(make_private_folder(identity_folder(data)));
  NANOBOX_TRY(write_private_file(identity_key_file(data), NANOBOX_TRY(key_.pem())));
  return write_private_file(membership_file(data), {text.GetString(), text.GetSize()});
}

WallTime NodeIdentity::renewal_time() const {
  return certificate_.not_before() + (certificate_.not_after() - certificate_.not_before()) / 3 * 2;
}

}  // namespace nanobox
