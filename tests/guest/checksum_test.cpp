#include <catch2/catch.hpp>
#include <string>

#include "guest/protocol.h"

extern "C" {
#include "guest/init/checksum.h"
}

TEST_CASE("an emulated machine's checksum is everybody's", "[guest]") {
  CHECK(checksum_by_shifts(0, "123456789", 9) == 0xE3069283);  // RFC 3720's check value
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    INFO(bytes.size());
    CHECK(checksum_by_shifts(17, bytes.data(), bytes.size()) == nanobox_crc32c(17, bytes.data(), bytes.size()));
    bytes += static_cast<char>(i * 37);
  }
}
