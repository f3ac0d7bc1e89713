#include "pipeline/warmup/rootfs/tar_reader.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <string_view>

#include "config/whole_number.hpp"

namespace nanobox {

namespace {

constexpr std::uint64_t kBlock = 512;
constexpr std::uint64_t kLargestId = 0xFFFFFFFE;

struct Field {
  std::size_t offset, size;
};
constexpr Field kName{0, 100}, kMode{100, 8}, kUid{108, 8}, kGid{116, 8}, kSize{124, 12}, kMtime{136, 12},
    kChecksum{148, 8}, kLink{157, 100}, kMagic{257, 8}, kMajor{329, 8}, kMinor{337, 8}, kPrefix{345, 155},
    kStarPrefix{345, 131}, kStarMark{508, 4}, kSparse{386, 96}, kSparseMore{482, 1}, kSparseReal{483, 12},
    kMoreSparse{0, 504}, kMoreSparseMore{504, 1};
constexpr std::size_t kTypeOffset = 156;
constexpr std::size_t kSparseNumberBytes = 12;

template <class Block>
std::string_view field(const Block& block, Field at) {
  return {reinterpret_cast<const char*>(block.data()) + at.offset, at.size};
}

std::string_view until_nul(std::string_view text) {
  return text.substr(0, text.find('\0'));
}

/// Octal with any padding, or base 256 (first bit set, two's complement).
std::optional<std::int64_t> number(std::string_view text) {
  const auto first = static_cast<unsigned char>(text.front());
  if (first & 0x80) {
    const bool negative = (first & 0x40) != 0;
    std::uint64_t value = negative ? ~0ULL : 0;
    for (std::size_t at = 0; at < text.size(); ++at) {
      auto byte = static_cast<unsigned char>(text[at]);
      if (at == 0) byte = negative ? static_cast<unsigned char>(byte | 0x80) : static_cast<unsigned char>(byte & 0x7F);
      const auto top = value >> 56;
      if (top != (negative ? 0xFFU : 0U)) return std::nullopt;
      value = value << 8 | byte;
    }
    const auto result = static_cast<std::int64_t>(value);
    if ((result < 0) != negative) return std::nullopt;
    return result;
  }
  const auto begin = text.find_first_not_of(std::string_view(" \0", 2));
  if (begin == std::string_view::npos) return 0;
  text = until_nul(text.substr(begin));
  text = text.substr(0, text.find(' '));
  const auto value = whole_number<std::int64_t>(text, 8);
  return value && *value >= 0 ? value : std::nullopt;
}

struct Time {
  std::int64_t seconds = 0;
  std::uint32_t nanoseconds = 0;
};

/// "[-]seconds[.fraction]", as PAX writes it.
std::optional<Time> pax_time(std::string_view text) {
  const auto dot = text.find('.');
  const auto seconds = whole_number<std::int64_t>(text.substr(0, dot));
  if (!seconds || *seconds == std::numeric_limits<std::int64_t>::min()) return std::nullopt;
  Time time{*seconds, 0};
  if (dot == std::string_view::npos) return time;
  std::uint32_t scale = 100'000'000;
  for (const char digit : text.substr(dot + 1)) {
    if (digit < '0' || digit > '9') return std::nullopt;
    time.nanoseconds += static_cast<std::uint32_t>(digit - '0') * scale;
    scale /= 10;
  }
  if (text.front() == '-' && time.nanoseconds != 0) {
    --time.seconds;
    time.nanoseconds = 1'000'000'000 - time.nanoseconds;
  }
  return time;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      out += text[at];
      continue;
    }
    unsigned value = 0;
    if (at + 2 >= text.size()) return std::nullopt;
    const auto* digits = text.data() + at + 1;
    const auto [end, problem] = std::from_chars(digits, digits + 2, value, 16);
    if (problem != std::errc{} || end != digits + 2) return std::nullopt;
    out += static_cast<char>(value);
    at += 2;
  }
  return out;
}

std::optional<std::string> base64_decoded(std::string_view text) {
  static constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char letter : text) {
    const auto value = kAlphabet.find(letter);
    if (value == std::string_view::npos) return std::nullopt;
    bits = (bits << 6 | static_cast<std::uint32_t>(value)) & 0xFFFF;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xFF);
  }
  return out;
}

bool all_zero(std::span<const std::byte> block) {
  return std::all_of(block.begin(), block.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

/// The header's sum with its own field as blanks; old writers summed signed bytes.
bool checksum_fits(std::span<const std::byte> header, std::int64_t stored) {
  std::int64_t as_unsigned = 0, as_signed = 0;
  for (std::size_t at = 0; at < header.size(); ++at) {
    const bool blank = at >= kChecksum.offset && at < kChecksum.offset + kChecksum.size;
    const auto byte = blank ? std::uint8_t{' '} : std::to_integer<std::uint8_t>(header[at]);
    as_unsigned += byte;
    as_signed += static_cast<std::int8_t>(byte);
  }
  return stored == as_unsigned || stored == as_signed;
}

std::uint64_t padding_after(std::uint64_t size) {
  return (kBlock - size % kBlock) % kBlock;
}

}  // namespace

/// What extension headers say about the member to come.
struct TarReader::Pending {
  std::optional<std::string> gnu_name, gnu_link;
  std::map<std::string, std::string> pax;
  std::vector<FileRange> sparse;  ///< of 0.0, whose keys repeat
  bool any = false;
};

Error TarReader::problem(ErrorCode code, std::string reason) const {
  return {.code = code, .attempted = "read tar entry", .subject = name_, .reason = std::move(reason), .mend = ""};
}

Result<std::span<const std::byte>> TarReader::take(std::uint64_t most) {
  if (chunk_.empty() && !ended_) {
    chunk_ = NANOBOX_TRY(source_.next_chunk());
    ended_ = chunk_.empty();
  }
  const auto piece = chunk_.first(static_cast<std::size_t>(std::min<std::uint64_t>(most, chunk_.size())));
  chunk_ = chunk_.subspan(piece.size());
  return piece;
}

/// False at the end of the stream.
Result<bool> TarReader::read_block(Block& block) {
  std::size_t got = 0;
  while (got < block.size()) {
    const auto piece = NANOBOX_TRY(take(block.size() - got));
    if (piece.empty()) {
      if (got == 0) return false;
      return fail(problem(ErrorCode::layer_invalid, "the tar ends within a header"));
    }
    std::memcpy(block.data() + got, piece.data(), piece.size());
    got += piece.size();
  }
  return true;
}

Result<std::string> TarReader::read_text(std::uint64_t size) {
  if (size > limits_.max_pax_bytes)
    return fail(problem(ErrorCode::layer_too_large,
                        "an extension header has more than " + std::to_string(limits_.max_pax_bytes) + " bytes"));
  std::string text;
  text.reserve(size);
  while (text.size() < size) {
    const auto piece = NANOBOX_TRY(take(size - text.size()));
    if (piece.empty()) return fail(problem(ErrorCode::layer_invalid, "the tar ends within an extension header"));
    text.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  NANOBOX_TRY(skip(padding_after(size)));
  return text;
}

Result<void> TarReader::skip(std::uint64_t count) {
  while (count != 0) {
    const auto piece = NANOBOX_TRY(take(count));
    if (piece.empty()) return fail(problem(ErrorCode::layer_invalid, "the tar ends within the entry's data"));
    count -= piece.size();
  }
  return {};
}

Result<void> TarReader::drain() {
  for (;;) {
    if (NANOBOX_TRY(take(std::numeric_limits<std::uint64_t>::max())).empty()) return {};
  }
}

Result<void> TarReader::parse_pax(const std::string& records, Pending& pending) {
  std::string_view rest = records;
  while (!rest.empty()) {
    if (rest.find_first_not_of('\0') == std::string_view::npos) return {};
    const auto blank = rest.find(' ');
    const auto length = whole_number<std::uint64_t>(rest.substr(0, blank));
    if (blank == std::string_view::npos || !length || *length <= blank + 1 || *length > rest.size() ||
        rest[*length - 1] != '\n')
      return fail(problem(ErrorCode::layer_invalid, "a PAX record has a wrong length"));
    const auto record = rest.substr(blank + 1, *length - blank - 2);
    rest.remove_prefix(*length);
    const auto equals = record.find('=');
    if (equals == std::string_view::npos || equals == 0)
      return fail(problem(ErrorCode::layer_invalid, "a PAX record has no key"));
    const auto key = record.substr(0, equals), value = record.substr(equals + 1);
    const bool offset = key == "GNU.sparse.offset", bytes = key == "GNU.sparse.numbytes";
    if (offset || bytes) {
      const auto amount = whole_number<std::uint64_t>(value);
      if (!amount || (bytes && pending.sparse.empty()))
        return fail(problem(ErrorCode::layer_invalid, "its sparse map is invalid"));
      if (offset) pending.sparse.push_back({*amount, 0});
      if (bytes) pending.sparse.back().length = *amount;
      if (pending.sparse.size() > limits_.max_sparse_ranges)
        return fail(problem(ErrorCode::layer_too_large, "its sparse map has too many ranges"));
    } else if (value.empty() && !key.starts_with("SCHILY.xattr.")) {
      pending.pax.erase(std::string(key));
    } else {
      pending.pax.insert_or_assign(std::string(key), std::string(value));
    }
  }
  return {};
}

Result<std::optional<TarEntry>> TarReader::next() {
  NANOBOX_TRY(skip(stored_left_ + padding_));
  stored_left_ = padding_ = 0;
  ranges_.clear();
  range_ = 0;
  range_done_ = 0;

  Pending pending;
  Block header;
  for (;;) {
    if (!NANOBOX_TRY(read_block(header))) {
      if (pending.any) return fail(problem(ErrorCode::layer_invalid, "the tar ends after an extension header"));
      return std::nullopt;
    }
    if (all_zero(header)) {
      if (pending.any) return fail(problem(ErrorCode::layer_invalid, "the tar ends after an extension header"));
      Block second;
      if (NANOBOX_TRY(read_block(second)) && !all_zero(second))
        return fail(problem(ErrorCode::layer_invalid, "a lone block of zeros stands before a header"));
      return std::nullopt;
    }
    name_ = std::string(until_nul(field(header, kName)));
    const auto checksum = number(field(header, kChecksum));
    if (!checksum || !checksum_fits(header, *checksum))
      return fail(problem(ErrorCode::layer_invalid, "it is no tar header: the checksum is wrong"));
    const auto type = std::to_integer<char>(header[kTypeOffset]);
    if (type != 'x' && type != 'g' && type != 'L' && type != 'K') return NANOBOX_TRY(parse(header, pending));

    const auto size = number(field(header, kSize));
    if (!size || *size < 0) return fail(problem(ErrorCode::layer_invalid, "its size is invalid"));
    auto text = NANOBOX_TRY(read_text(static_cast<std::uint64_t>(*size)));
    if (type == 'g') continue;  // as docker and containerd
    pending.any = true;
    if (type == 'x') NANOBOX_TRY(parse_pax(text, pending));
    if (type == 'L') pending.gnu_name = std::string(until_nul(text));
    if (type == 'K') pending.gnu_link = std::string(until_nul(text));
  }
}

Result<TarEntry> TarReader::parse(const Block& header, Pending& pending) {
  TarEntry entry;
  const auto pax = [&](const char* key) -> const std::string* {
    const auto found = pending.pax.find(key);
    return found == pending.pax.end() ? nullptr : &found->second;
  };

  entry.path = name_;
  const auto magic = field(header, kMagic);
  if (magic.starts_with(std::string_view("ustar\0", 6))) {
    const bool star = field(header, kStarMark) == std::string_view("tar\0", 4);
    const auto prefix = until_nul(field(header, star ? kStarPrefix : kPrefix));
    if (!prefix.empty()) entry.path = std::string(prefix) + "/" + entry.path;
  }
  entry.link = std::string(until_nul(field(header, kLink)));
  if (pending.gnu_name) entry.path = *pending.gnu_name;
  if (pending.gnu_link) entry.link = *pending.gnu_link;
  if (const auto* path = pax("path")) entry.path = *path;
  if (const auto* link = pax("linkpath")) entry.link = *link;

  auto type = std::to_integer<char>(header[kTypeOffset]);
  const bool pax_sparse =
      pax("GNU.sparse.major") || pax("GNU.sparse.map") || !pending.sparse.empty() || pax("GNU.sparse.size");
  if (pax_sparse) {
    if (const auto* path = pax("GNU.sparse.name")) entry.path = *path;
  }
  name_ = entry.path;
  if (entry.path.find('\0') != std::string::npos || entry.link.find('\0') != std::string::npos)
    return fail(problem(ErrorCode::layer_invalid, "its name holds a NUL"));
  if (type == '\0' && entry.path.ends_with('/')) type = '5';
  switch (type) {
    case '\0':
    case '0':
    case '7':
    case 'S':
      entry.type = TarType::file;
      break;
    case '1':
      entry.type = TarType::hard_link;
      break;
    case '2':
      entry.type = TarType::symlink;
      break;
    case '3':
      entry.type = TarType::char_device;
      break;
    case '4':
      entry.type = TarType::block_device;
      break;
    case '5':
      entry.type = TarType::folder;
      break;
    case '6':
      entry.type = TarType::fifo;
      break;
    default: {
      const std::string shown =
          type >= ' ' && type <= '~' ? std::string(1, type) : std::to_string(static_cast<unsigned char>(type));
      return fail(problem(ErrorCode::layer_unsupported, "tar entries of type '" + shown + "' are not known"));
    }
  }

  const auto numeric = [&](Field at, const char* key, std::uint64_t most) -> Result<std::uint64_t> {
    auto value = number(field(header, at));
    if (key) {
      if (const auto* text = pax(key)) value = whole_number<std::int64_t>(*text);
    }
    if (!value || *value < 0 || static_cast<std::uint64_t>(*value) > most)
      return fail(
          problem(ErrorCode::layer_invalid, "its " + std::string(key ? key : "device number or mode") + " is invalid"));
    return static_cast<std::uint64_t>(*value);
  };
  constexpr std::uint64_t kAny = std::numeric_limits<std::int64_t>::max();
  entry.mode = static_cast<std::uint16_t>(NANOBOX_TRY(numeric(kMode, nullptr, kAny)) & 07777);
  entry.uid = static_cast<std::uint32_t>(NANOBOX_TRY(numeric(kUid, "uid", kLargestId)));
  entry.gid = static_cast<std::uint32_t>(NANOBOX_TRY(numeric(kGid, "gid", kLargestId)));
  if (entry.type == TarType::char_device || entry.type == TarType::block_device) {
    entry.device_major = static_cast<std::uint32_t>(NANOBOX_TRY(numeric(kMajor, nullptr, 0xFFF)));
    entry.device_minor = static_cast<std::uint32_t>(NANOBOX_TRY(numeric(kMinor, nullptr, 0xFFFFF)));
  }
  if (const auto* text = pax("mtime")) {
    const auto time = pax_time(*text);
    if (!time) return fail(problem(ErrorCode::layer_invalid, "its mtime is invalid"));
    entry.mtime = time->seconds;
    entry.mtime_nsec = time->nanoseconds;
  } else {
    const auto seconds = number(field(header, kMtime));
    if (!seconds) return fail(problem(ErrorCode::layer_invalid, "its mtime is invalid"));
    entry.mtime = *seconds;
  }

  for (const auto& [key, value] : pending.pax) {
    constexpr std::string_view kLibarchive = "LIBARCHIVE.xattr.", kSchily = "SCHILY.xattr.";
    if (key.starts_with(kLibarchive)) {
      auto name = percent_decoded(std::string_view(key).substr(kLibarchive.size()));
      auto bytes = base64_decoded(value);
      if (!name || !bytes) return fail(problem(ErrorCode::layer_invalid, "an xattr is encoded wrongly"));
      entry.xattrs.insert_or_assign(std::move(*name), std::move(*bytes));
    } else if (key.starts_with(kSchily)) {
      entry.xattrs.insert_or_assign(key.substr(kSchily.size()), value);
    }
  }

  if (entry.type != TarType::file) return entry;  // its size, if any, has no data behind it
  const auto stored = NANOBOX_TRY(numeric(kSize, "size", kAny));
  stored_left_ = stored;
  padding_ = padding_after(stored);
  entry.size_bytes = stored;

  const auto real_size = [&](const char* key) -> Result<std::uint64_t> {
    const auto* text = pax(key);
    const auto size = text ? whole_number<std::uint64_t>(*text) : std::nullopt;
    if (!size || *size > kAny) return fail(problem(ErrorCode::layer_invalid, "its sparse size is invalid"));
    return *size;
  };
  if (type == 'S') {
    NANOBOX_TRY(parse_old_sparse(header, entry));
  } else if (pax("GNU.sparse.major")) {
    if (*pax("GNU.sparse.major") != "1")
      return fail(problem(ErrorCode::layer_unsupported, "its sparse format is unknown"));
    entry.size_bytes = NANOBOX_TRY(real_size("GNU.sparse.realsize"));
    NANOBOX_TRY(parse_sparse_map(entry));
  } else if (pax_sparse) {
    entry.size_bytes = NANOBOX_TRY(real_size("GNU.sparse.size"));
    entry.ranges = pending.sparse;
    if (const auto* map = pax("GNU.sparse.map")) {
      std::string_view rest = *map;
      entry.ranges.clear();
      while (!rest.empty()) {
        const auto next = [&] {
          const auto comma = rest.find(',');
          const auto value = whole_number<std::uint64_t>(rest.substr(0, comma));
          rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
          return value;
        };
        const auto offset = next(), length = next();
        if (!offset || !length) return fail(problem(ErrorCode::layer_invalid, "its sparse map is invalid"));
        entry.ranges.push_back({*offset, *length});
      }
    }
  } else if (stored != 0) {
    entry.ranges.push_back({0, stored});
  }
  NANOBOX_TRY(check_ranges(entry));
  ranges_ = entry.ranges;
  return entry;
}

Result<void> TarReader::parse_old_sparse(const Block& header, TarEntry& entry) {
  const auto real = number(field(header, kSparseReal));
  if (!real || *real < 0) return fail(problem(ErrorCode::layer_invalid, "its sparse size is invalid"));
  entry.size_bytes = static_cast<std::uint64_t>(*real);
  const auto add = [&](std::string_view numbers) -> Result<void> {
    for (; numbers.size() >= 2 * kSparseNumberBytes; numbers.remove_prefix(2 * kSparseNumberBytes)) {
      if (numbers.front() == '\0') break;
      const auto offset = number(numbers.substr(0, kSparseNumberBytes));
      const auto length = number(numbers.substr(kSparseNumberBytes, kSparseNumberBytes));
      if (!offset || !length || *offset < 0 || *length < 0)
        return fail(problem(ErrorCode::layer_invalid, "its sparse map is invalid"));
      entry.ranges.push_back({static_cast<std::uint64_t>(*offset), static_cast<std::uint64_t>(*length)});
    }
    if (entry.ranges.size() > limits_.max_sparse_ranges)
      return fail(problem(ErrorCode::layer_too_large, "its sparse map has too many ranges"));
    return {};
  };
  NANOBOX_TRY(add(field(header, kSparse)));
  bool more = field(header, kSparseMore).front() != '\0';
  while (more) {
    Block block;
    if (!NANOBOX_TRY(read_block(block)))
      return fail(problem(ErrorCode::layer_invalid, "the tar ends within a sparse map"));
    NANOBOX_TRY(add(field(block, kMoreSparse)));
    more = field(block, kMoreSparseMore).front() != '\0';
  }
  return {};
}

/// Sparse 1.0: decimal lines before the data, filled up to a block: count, then offset and length of each range.
Result<void> TarReader::parse_sparse_map(TarEntry& entry) {
  std::string text;
  std::uint64_t read_bytes = 0;
  const auto next_number = [&]() -> Result<std::uint64_t> {
    for (;;) {
      if (const auto end = text.find('\n'); end != std::string::npos) {
        const auto value = whole_number<std::uint64_t>(std::string_view(text).substr(0, end));
        text.erase(0, end + 1);
        if (!value) return fail(problem(ErrorCode::layer_invalid, "its sparse map is invalid"));
        return *value;
      }
      if (text.size() > 32 || stored_left_ < kBlock)
        return fail(problem(ErrorCode::layer_invalid, "its sparse map is invalid"));
      Block block;
      if (!NANOBOX_TRY(read_block(block)))
        return fail(problem(ErrorCode::layer_invalid, "the tar ends within a sparse map"));
      stored_left_ -= kBlock;
      read_bytes += kBlock;
      if (read_bytes > 2 * limits_.max_pax_bytes)
        return fail(problem(ErrorCode::layer_too_large, "its sparse map is too long"));
      text.append(reinterpret_cast<const char*>(block.data()), block.size());
    }
  };
  const auto count = NANOBOX_TRY(next_number());
  if (count > limits_.max_sparse_ranges)
    return fail(problem(ErrorCode::layer_too_large, "its sparse map has too many ranges"));
  for (std::uint64_t at = 0; at < count; ++at) {
    const auto offset = NANOBOX_TRY(next_number());
    const auto length = NANOBOX_TRY(next_number());
    entry.ranges.push_back({offset, length});
  }
  return {};
}

Result<void> TarReader::check_ranges(TarEntry& entry) {
  if (entry.size_bytes > limits_.max_file_bytes)
    return fail(problem(ErrorCode::layer_too_large, "it claims " + std::to_string(entry.size_bytes) +
                                                        " bytes, more than " + std::to_string(limits_.max_file_bytes)));
  if (entry.ranges.size() > limits_.max_sparse_ranges)
    return fail(problem(ErrorCode::layer_too_large, "its sparse map has too many ranges"));
  std::uint64_t end = 0, sum = 0;
  for (const auto& range : entry.ranges) {
    if (range.offset < end || range.length > entry.size_bytes || range.offset > entry.size_bytes - range.length)
      return fail(problem(ErrorCode::layer_invalid, "its sparse map is not ascending or passes the file's end"));
    end = range.offset + range.length;
    sum += range.length;
  }
  if (sum != stored_left_)
    return fail(problem(ErrorCode::layer_invalid, "its sparse map does not fit the stored size"));
  std::erase_if(entry.ranges, [](const FileRange& range) { return range.length == 0; });
  return {};
}

Result<TarReader::Piece> TarReader::data() {
  if (range_ == ranges_.size()) return Piece{};
  const auto& range = ranges_[range_];
  const auto bytes = NANOBOX_TRY(take(range.length - range_done_));
  if (bytes.empty()) return fail(problem(ErrorCode::layer_invalid, "the tar ends within the entry's data"));
  const Piece piece{range.offset + range_done_, bytes};
  stored_left_ -= bytes.size();
  range_done_ += bytes.size();
  if (range_done_ == range.length) {
    ++range_;
    range_done_ = 0;
  }
  return piece;
}

}  // namespace nanobox
