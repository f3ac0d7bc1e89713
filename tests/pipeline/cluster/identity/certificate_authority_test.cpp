#include "pipeline/cluster/identity/certificate_authority.hpp"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <set>

#include "cluster_fixture.hpp"
#include "pipeline/cluster/identity/openssl_handles.hpp"

using namespace nanobox;
using namespace nanobox::test;
using namespace std::chrono_literals;

namespace {

mode_t mode_of(const std::filesystem::path& path) {
  struct stat status {};
  REQUIRE(::lstat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

/// A request that asks for a name and for being a CA.
std::string greedy_csr(EVP_PKEY* key, EVP_PKEY* signer) {
  const RequestHandle request(::X509_REQ_new());
  auto* name = ::X509_REQ_get_subject_name(request.get());
  ::X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>("control-1"), -1, -1,
                               0);
  ::X509_NAME_add_entry_by_txt(name, "OU", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>("control"), -1, -1, 0);
  auto* extensions = sk_X509_EXTENSION_new_null();
  sk_X509_EXTENSION_push(extensions,
                         ::X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, "critical,CA:TRUE"));
  ::X509_REQ_add_extensions(request.get(), extensions);
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  ::X509_REQ_set_pubkey(request.get(), key);
  ::X509_REQ_sign(request.get(), signer, ::EVP_sha256());
  const BioHandle bio(::BIO_new(::BIO_s_mem()));
  ::PEM_write_bio_X509_REQ(bio.get(), request.get());
  return bio_text(bio.get());
}

void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

}  // namespace

TEST_CASE("the CA is made once, and opened with the same key afterwards", "[ca]") {
  const StoreFolder data;
  const auto made = CertificateAuthority::open_or_make(data.path(), wall_now()).value();
  CHECK(made.key_digest().size() == 64);
  const auto opened = CertificateAuthority::open_or_make(data.path(), wall_now()).value();
  CHECK(opened.key_digest() == made.key_digest());
  CHECK(opened.certificate().pem() == made.certificate().pem());
}

TEST_CASE("only their owner may read the files of the CA and of a node", "[ca]") {
  const Authority authority;
  const auto& data = authority.folder.path();
  REQUIRE(authority.identity("node-1").save(data));
  for (const char* folder : {"ca", "identity"}) CHECK(mode_of(data / folder) == 0700);
  for (const char* file : {"ca/key.pem", "ca/certificate.pem", "identity/key.pem", "identity/identity.json"})
    CHECK(mode_of(data / file) == 0600);
}

TEST_CASE("a CA left half made is not used, a damaged one is not replaced", "[ca]") {
  const StoreFolder data;
  std::filesystem::create_directories(data / "ca.half");
  const auto left = PrivateKey::generate().value();
  write_file(data / "ca.half/key.pem", left.pem().value());
  CHECK(CertificateAuthority::open_or_make(data.path(), wall_now()).value().key_digest() != left.digest());
  CHECK_FALSE(std::filesystem::exists(data / "ca.half"));

  std::filesystem::remove(data / "ca/certificate.pem");
  const auto refused = CertificateAuthority::open_or_make(data.path(), wall_now());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::file_unreadable);
  CHECK(std::filesystem::exists(data / "ca/key.pem"));
}

TEST_CASE("a key that others may read is refused", "[ca]") {
  const Authority authority;
  const auto& data = authority.folder.path();
  REQUIRE(::chmod((data / "ca/key.pem").c_str(), 0640) == 0);
  const auto refused = CertificateAuthority::open_or_make(data, wall_now());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::file_unreadable);
}

TEST_CASE_METHOD(Authority, "a certificate says what the CA says, whatever the request asks for", "[ca]") {
  const auto key = PrivateKey::generate().value();
  const auto issued = ca.issue(greedy_csr(key.get(), key.get()), "node-1", NodeRole::node, wall_now()).value();
  CHECK(issued.identity().value() == PeerIdentity{"node-1", NodeRole::node});
  CHECK(::X509_check_ca(issued.get()) == 0);
  CHECK(issued.is_signed_by(ca.certificate()));
  CHECK(issued.key_digest() == key.digest());
}

TEST_CASE_METHOD(Authority, "a request not signed by its own key, of another kind of key, or no request is refused",
                 "[ca]") {
  const auto key = PrivateKey::generate().value();
  const auto other = PrivateKey::generate().value();
  const KeyHandle rsa(::EVP_RSA_gen(2048));
  const KeyHandle p384(::EVP_EC_gen("P-384"));
  for (const auto& csr :
       {greedy_csr(key.get(), other.get()), greedy_csr(rsa.get(), rsa.get()), greedy_csr(p384.get(), p384.get()),
        std::string("-----BEGIN CERTIFICATE REQUEST-----\nAAAA"), std::string()}) {
    const auto refused = ca.issue(csr, "node-1", NodeRole::node, wall_now());
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::invalid_value);
  }
}

TEST_CASE_METHOD(Authority, "a name that is none of a node gets no certificate", "[ca]") {
  const auto csr = PrivateKey::generate().value().make_csr().value();
  for (const auto& name : {std::string(), std::string("a/b"), std::string("-a"), std::string("a\0b", 3),
                           std::string(65, 'a'), std::string("n\xc3\xb6")})
    CHECK_FALSE(ca.issue(csr, name, NodeRole::node, wall_now()));
  CHECK(ca.issue(csr, std::string(64, 'a'), NodeRole::node, wall_now()));
}

TEST_CASE_METHOD(Authority, "a certificate begins before now, ends after its lifetime, and has a number of its own",
                 "[ca]") {
  const auto now = std::chrono::floor<std::chrono::seconds>(wall_now());
  std::set<std::string> serials;
  for (int i = 0; i < 20; ++i) {
    const auto one = identity("node-1", NodeRole::node, now);
    const BignumHandle number(::ASN1_INTEGER_to_BN(::X509_get0_serialNumber(one.certificate().get()), nullptr));
    CHECK(::BN_num_bits(number.get()) > 64);
    serials.insert(std::string(
        std::unique_ptr<char, OpensslFree<[](char* p) { OPENSSL_free(p); }>>(::BN_bn2hex(number.get())).get()));
    CHECK(one.certificate().not_before() <= now - 10min);
    CHECK(one.certificate().not_after() == now + certificate_lifetime);
  }
  CHECK(serials.size() == 20);
}

TEST_CASE_METHOD(Authority, "an identity is what was saved last, and is due for renewal after two thirds of its life",
                 "[identity]") {
  const auto& data = folder.path();
  CHECK_FALSE(NodeIdentity::load(data).value());
  const auto now = wall_now();
  const auto first = ca.make_identity("node-1", NodeRole::node, now, "127.0.0.1:7001").value();
  REQUIRE(first.save(data));
  const auto kept = NodeIdentity::load(data).value();
  REQUIRE(kept);
  CHECK(kept->node_id() == "node-1");
  CHECK(kept->role() == NodeRole::node);
  CHECK(kept->cluster_id() == ca.key_digest());
  CHECK(kept->control_address() == "127.0.0.1:7001");
  CHECK(kept->certificate().pem() == first.certificate().pem());
  CHECK(PrivateKey::open_or_make(identity_key_file(data)).value().digest() == first.key().digest());
  CHECK_FALSE(kept->needs_renewal(now + std::chrono::hours(24 * 19)));
  CHECK(kept->needs_renewal(now + std::chrono::hours(24 * 20)));
}

TEST_CASE_METHOD(Authority, "a certificate and a key that do not fit make no identity", "[identity]") {
  const Authority foreign;
  const auto mine = identity("node-1");
  CHECK_FALSE(NodeIdentity::make(PrivateKey::generate().value(), mine.certificate(), ca.certificate(), ""));
  CHECK_FALSE(NodeIdentity::make(mine.key(), mine.certificate(), foreign.ca.certificate(), ""));
  CHECK_FALSE(NodeIdentity::make(mine.key(), mine.certificate(), mine.certificate(), ""));
  REQUIRE(mine.save(folder.path()));
  std::filesystem::remove(folder / "identity/key.pem");
  const auto damaged = NodeIdentity::load(folder.path());
  REQUIRE_FALSE(damaged);
  CHECK(damaged.error().code == ErrorCode::file_unreadable);
}
