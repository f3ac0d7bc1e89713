#pragma once

#include <cstdint>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace nanobox::test {

/// One line of tests/corpus/channel/frames.txt.
struct KnownFrame {
  std::string name;
  unsigned type = 0, flags = 0, part = 0, stream = 0;
  std::vector<std::uint8_t> payload, bytes;
};

inline std::vector<std::uint8_t> from_hex(const std::string& text) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; text != "-" && i + 1 < text.size(); i += 2)
    bytes.push_back(static_cast<std::uint8_t>(std::stoi(text.substr(i, 2), nullptr, 16)));
  return bytes;
}

inline std::vector<KnownFrame> known_frames() {
  std::ifstream file(CHANNEL_CORPUS "/frames.txt");
  std::vector<KnownFrame> frames;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream words(line);
    KnownFrame frame;
    std::string payload, bytes;
    words >> frame.name >> frame.type >> frame.flags >> frame.part >> frame.stream >> payload >> bytes;
    frame.payload = from_hex(payload);
    frame.bytes = from_hex(bytes);
    frames.push_back(std::move(frame));
  }
  if (frames.empty()) throw std::runtime_error("no known frames in " CHANNEL_CORPUS);
  return frames;
}

}  // namespace nanobox::test
