#pragma once

#include <archive.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "config/error.hpp"
#include "config/unique_fd.hpp"
#include "pipeline/stage_context.hpp"
#include "pipeline/warmup/source/image_source.hpp"

namespace nanobox {

/// Walks the members of a tar file, plain or compressed, by pread: several may walk one descriptor. Data that is not
/// asked for is skipped, by seeking where the tar is plain.
class TarReader {
public:
  struct Member {
    enum class Type { file, link, other };
    Type type = Type::other;
    std::string name;    ///< as written; may be any bytes
    std::string target;  ///< of a link
    bool hard_link = false;
    std::uint64_t position = 0;  ///< 0 for the first
    std::uint64_t size = 0;
  };

  /// @param name  for errors
  /// @errors layer_invalid (it is no tar)
  static Result<TarReader> open(const UniqueFd& file, std::string name);
  TarReader(TarReader&&) noexcept;
  ~TarReader();

  /// The next member, or nothing at the end. @errors layer_invalid · cancelled
  Result<std::optional<Member>> next(const StageContext& context);
  /// The data of the member that `next` answered, or its first bytes: `sink` ends it by an error.
  Result<void> read(const StageContext& context, const BlobSink& sink);

private:
  struct Input;
  struct Free {
    void operator()(archive* reader) const { archive_read_free(reader); }
  };
  TarReader(std::unique_ptr<Input> input, std::string name);
  tl::unexpected<Error> broken() const;

  std::unique_ptr<Input> input_;
  std::unique_ptr<archive, Free> archive_;
  std::string name_;
  std::uint64_t position_ = 0;
};

}  // namespace nanobox
