#include "pipeline/cluster/identity/openssl_handles.hpp"

#include <openssl/err.h>

#include <array>
#include <utility>

namespace nanobox {

Error openssl_error(std::string attempted, std::string subject, ErrorCode code) {
  std::string reason = "OpenSSL gives no reason";
  if (const auto number = ::ERR_peek_last_error(); number != 0) {
    std::array<char, 256> text{};
    ::ERR_error_string_n(number, text.data(), text.size());
    reason = text.data();
  }
  ::ERR_clear_error();
  return {.code = code,
          .attempted = std::move(attempted),
          .subject = std::move(subject),
          .reason = std::move(reason),
          .mend = {}};
}

BioHandle text_bio(std::string_view text) {
  return BioHandle(::BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string bio_text(BIO* bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);
  return size > 0 ? std::string(bytes, static_cast<std::size_t>(size)) : std::string();
}

int no_password(char*, int, int, void*) {
  return -1;
}

}  // namespace nanobox
