#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/boot/memory/memory_layer.hpp"

namespace nanobox::test {

template <class T>
T must(Result<T> result) {
  if (!result) FAIL(describe(result.error()));
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// Pages, each filled with one letter; '.' is a page of zeros.
inline std::string pages_of(std::string_view letters) {
  std::string pages;
  for (const char letter : letters) pages.append(page_bytes, letter == '.' ? '\0' : letter);
  return pages;
}

/// The inverse; '?' for a page of several bytes.
inline std::string letters_of(std::string_view pages) {
  std::string letters;
  for (; !pages.empty(); pages.remove_prefix(std::min<std::size_t>(page_bytes, pages.size()))) {
    const auto page = pages.substr(0, page_bytes);
    const bool same = page.find_first_not_of(page.front()) == std::string_view::npos;
    letters += !same ? '?' : page.front() == '\0' ? '.' : page.front();
  }
  return letters;
}

inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class MemoryFixture {
public:
  std::filesystem::path folder;

  MemoryFixture() {
    std::string name = "/tmp/nbmemory-XXXXXX";
    REQUIRE(mkdtemp(name.data()) != nullptr);
    folder = name;
  }
  MemoryFixture(const MemoryFixture&) = delete;
  ~MemoryFixture() { std::filesystem::remove_all(folder); }

  /// A memory file; '.' is a hole.
  std::filesystem::path memory_file(const std::string& letters, const std::string& name = "base") {
    const auto path = folder / name;
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    REQUIRE(ftruncate(file.get(), static_cast<off_t>(letters.size() * page_bytes)) == 0);
    for (std::size_t i = 0; i < letters.size(); ++i)
      if (letters[i] != '.')
        REQUIRE(pwrite(file.get(), std::string(page_bytes, letters[i]).data(), page_bytes,
                       static_cast<off_t>(i * page_bytes)) == page_bytes);
    return path;
  }

  /// A layer over memory of `memory_pages`, at `name`.
  MemoryLayer layer(const std::string& name, std::uint64_t memory_pages, const std::vector<PageRun>& runs,
                    const std::string& letters, const MemoryLayer* older = nullptr,
                    const std::filesystem::path& base = {}) {
    const auto pages = pages_of(letters);
    must(write_memory_layer(folder / name,
                            {.memory_bytes = memory_pages * page_bytes,
                             .base = base,
                             .older = older,
                             .runs = runs,
                             .pages = std::as_bytes(std::span(pages))},
                            false));
    return must(open_memory_layer(folder / name));
  }

  /// The pages of a layer, as letters.
  static std::string letters_in(const MemoryLayer& layer) {
    return letters_of(content_of(layer.path).substr(layer.pages_offset));
  }
};

}  // namespace nanobox::test
