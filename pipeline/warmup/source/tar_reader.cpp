#include "pipeline/warmup/source/tar_reader.hpp"

#include <archive_entry.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <new>

namespace nanobox {

/// What libarchive reads from.
struct TarReader::Input {
  int file = -1;
  std::uint64_t offset = 0;
  std::array<char, 256U << 10> buffer;

  static la_ssize_t read(archive* reader, void* user, const void** data) {
    auto& input = *static_cast<Input*>(user);
    ssize_t got = -1;
    do got = ::pread(input.file, input.buffer.data(), input.buffer.size(), static_cast<off_t>(input.offset));
    while (got < 0 && errno == EINTR);
    if (got < 0) {
      archive_set_error(reader, errno, "cannot read the file");
      return ARCHIVE_FATAL;
    }
    input.offset += static_cast<std::uint64_t>(got);
    *data = input.buffer.data();
    return got;
  }
  static la_int64_t skip(archive*, void* user, la_int64_t count) {
    static_cast<Input*>(user)->offset += static_cast<std::uint64_t>(count);
    return count;
  }
};

TarReader::TarReader(std::unique_ptr<Input> input, std::string name)
    : input_(std::move(input)), archive_(archive_read_new()), name_(std::move(name)) {
  if (!archive_) throw std::bad_alloc();
}
TarReader::TarReader(TarReader&&) noexcept = default;
TarReader::~TarReader() = default;

tl::unexpected<Error> TarReader::broken() const {
  const char* text = archive_error_string(archive_.get());
  return fail({.code = ErrorCode::layer_invalid,
               .attempted = "read archive",
               .subject = name_,
               .reason = text ? text : "it is no tar file",
               .mend = "write the archive again with docker save"});
}

Result<TarReader> TarReader::open(const UniqueFd& file, std::string name) {
  auto input = std::make_unique<Input>();
  input->file = file.get();
  TarReader reader(std::move(input), std::move(name));
  auto* archive = reader.archive_.get();
  archive_read_support_format_tar(archive);
  archive_read_support_filter_gzip(archive);
  archive_read_support_filter_zstd(archive);
  archive_read_support_filter_bzip2(archive);
  archive_read_support_filter_xz(archive);
  archive_read_set_callback_data(archive, reader.input_.get());
  archive_read_set_read_callback(archive, &Input::read);
  archive_read_set_skip_callback(archive, &Input::skip);
  if (archive_read_open1(archive) != ARCHIVE_OK) return reader.broken();
  return reader;
}

Result<std::optional<TarReader::Member>> TarReader::next(const StageContext& context) {
  NANOBOX_TRY(context.check("read archive"));
  archive_entry* entry = nullptr;
  const int outcome = archive_read_next_header(archive_.get(), &entry);
  if (outcome == ARCHIVE_EOF) return std::nullopt;
  if (outcome != ARCHIVE_OK && outcome != ARCHIVE_WARN) return broken();
  Member member{
      .type = Member::Type::other, .name = {}, .target = {}, .hard_link = false, .position = position_++, .size = 0};
  if (const char* name = archive_entry_pathname(entry)) member.name = name;
  if (const char* hard = archive_entry_hardlink(entry)) {
    member.type = Member::Type::link;
    member.hard_link = true;
    member.target = hard;
  } else if (archive_entry_filetype(entry) == AE_IFLNK) {
    member.type = Member::Type::link;
    if (const char* target = archive_entry_symlink(entry)) member.target = target;
  } else if (archive_entry_filetype(entry) == AE_IFREG) {
    member.type = Member::Type::file;
    member.size = static_cast<std::uint64_t>(archive_entry_size(entry));
  }
  return member;
}

Result<void> TarReader::read(const StageContext& context, const BlobSink& sink) {
  std::array<char, 64U << 10> buffer;
  while (true) {
    NANOBOX_TRY(context.check("read archive"));
    const auto got = archive_read_data(archive_.get(), buffer.data(), buffer.size());
    if (got == 0) return {};
    if (got < 0) return broken();
    NANOBOX_TRY(sink({buffer.data(), static_cast<std::size_t>(got)}));
  }
}

}  // namespace nanobox
