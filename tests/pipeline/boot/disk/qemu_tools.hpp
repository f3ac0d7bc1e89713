#pragma once

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace nanobox::test {

inline bool runs(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

inline bool is_sound(const std::filesystem::path& qcow2) {
  return runs("qemu-img check -f qcow2 '" + qcow2.string() + "'");
}

inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// What QEMU reads from a qcow2 file and its backing files.
inline std::string as_qemu_reads(const std::filesystem::path& qcow2) {
  const auto raw = qcow2.string() + ".raw";
  REQUIRE(runs("qemu-img convert -f qcow2 -O raw '" + qcow2.string() + "' '" + raw + "'"));
  auto content = content_of(raw);
  std::filesystem::remove(raw);
  return content;
}

}  // namespace nanobox::test
