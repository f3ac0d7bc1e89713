#include "pipeline/boot/vmm/vmm_pin.hpp"

#include <elf.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <vector>

#include "config/child_process.hpp"
#include "config/id.hpp"
#include "config/unique_fd.hpp"
#include "pipeline/boot/vmm/preload/private_memory.hpp"

namespace nanobox {

namespace fs = std::filesystem;

namespace {

// Name within the pinned folder → where it comes from.
using Sources = std::map<std::string, fs::path>;

Error missing(std::string subject, std::string reason) {
  return {.code = ErrorCode::vmm_missing,
          .attempted = "find the VMM",
          .subject = std::move(subject),
          .reason = std::move(reason),
          .mend = "install Debian's qemu-system-x86"};
}

/// The dynamic loader a program names (PT_INTERP).
Result<fs::path> interpreter_of(const fs::path& binary) {
  std::ifstream file(binary, std::ios::binary);
  Elf64_Ehdr header{};
  if (!file.read(reinterpret_cast<char*>(&header), sizeof header) ||
      std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64)
    return fail(missing(binary, "it is no 64-bit ELF program"));
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr part{};
    file.seekg(static_cast<std::streamoff>(header.e_phoff + i * sizeof part));
    if (!file.read(reinterpret_cast<char*>(&part), sizeof part)) break;
    if (part.p_type != PT_INTERP || part.p_filesz == 0 || part.p_filesz > 4096) continue;
    std::string path(part.p_filesz, '\0');
    file.seekg(static_cast<std::streamoff>(part.p_offset));
    if (!file.read(path.data(), static_cast<std::streamsize>(path.size()))) break;
    return fs::path(path.c_str());
  }
  return fail(missing(binary, "it names no dynamic loader"));
}

/// Adds the libraries that `object` needs, as the loader itself finds them.
Result<void> add_libraries(const fs::path& loader, const fs::path& object, Sources& sources) {
  const auto listed = NANOBOX_TRY(run_command(
      {.program = loader, .arguments = {"--list", object}, .env = {{}}, .descriptors = {}}, std::chrono::seconds{20}));
  if (!listed.exit.succeeded()) return fail(missing(object, "its libraries cannot be listed: " + listed.err));
  std::istringstream lines(listed.out);
  for (std::string line; std::getline(lines, line);) {
    const auto arrow = line.find(" => ");
    if (arrow == std::string::npos) continue;  // the loader itself and the vdso
    const auto name = line.substr(line.find_first_not_of(" \t"), arrow - line.find_first_not_of(" \t"));
    const auto path = line.substr(arrow + 4, line.rfind(" (") - arrow - 4);
    if (!path.starts_with('/')) return fail(missing(object, "its library " + name + " is missing"));
    if (name == "libcapstone.so.4") continue;  // the preload stands in for it
    if (!name.starts_with('/')) sources.emplace("lib/" + name, path);
  }
  return {};
}

fs::path first_existing(const std::vector<fs::path>& candidates) {
  std::error_code error;
  for (const auto& path : candidates)
    if (fs::exists(path, error)) return path;
  return {};
}

Result<Sources> find_sources(const fs::path& binary) {
  const auto loader = NANOBOX_TRY(interpreter_of(binary));
  Sources sources{{"vmm", binary}, {"ld.so", loader}};
  NANOBOX_TRY(add_libraries(loader, binary, sources));

  const auto prefix = binary.parent_path().parent_path();
  const auto module =
      first_existing({prefix / "lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so",
                      prefix / "lib64/qemu/accel-tcg-x86_64.so", prefix / "lib/qemu/accel-tcg-x86_64.so"});
  if (!module.empty()) {  // else the accelerators are built in
    sources.emplace("modules/accel-tcg-x86_64.so", module);
    NANOBOX_TRY(add_libraries(loader, module, sources));
  }
  for (const auto* name : {"qboot.rom", "bios-microvm.bin", "kvmvapic.bin", "linuxboot_dma.bin", "pvh.bin"}) {
    const auto firmware = first_existing({prefix / "share/qemu" / name, prefix / "share/seabios" / name});
    if (!firmware.empty()) sources.emplace(std::string("firmware/") + name, firmware);
  }
  if (!sources.contains("firmware/qboot.rom"))
    return fail(missing((prefix / "share/qemu/qboot.rom").string(), "the microvm's firmware is not there"));
  return sources;
}

using HashContext = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

HashContext new_sha256() {
  HashContext context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  return context;
}

std::string finish_hex(const HashContext& context) {
  std::array<unsigned char, 32> digest{};
  EVP_DigestFinal_ex(context.get(), digest.data(), nullptr);
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

/// What tells a source from its successor without reading it.
std::string fingerprint(const Sources& sources) {
  const auto preload = new_sha256();
  EVP_DigestUpdate(preload.get(), private_memory_object().data(), private_memory_object().size());
  std::string text = "private_memory.so " + finish_hex(preload) + "\n";
  for (const auto& [name, path] : sources) {
    struct stat file {};
    if (stat(path.c_str(), &file) != 0) return {};
    text += name + ' ' + std::to_string(file.st_size) + ' ' + std::to_string(file.st_mtim.tv_sec) + '.' +
            std::to_string(file.st_mtim.tv_nsec) + ' ' + std::to_string(file.st_ino) + ' ' + path.string() + '\n';
  }
  return text;
}

/// The sources a `sources` file names: what was pinned then.
Sources recorded_sources(const std::string& text) {
  Sources sources;
  std::istringstream lines(text);
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string name, size, time, inode, path;
    words >> name >> size >> time >> inode;
    std::getline(words >> std::ws, path);
    sources.emplace(name, path);
  }
  return sources;
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

std::optional<PinnedVmm> find_pinned(const fs::path& binary, const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const auto text = read_file(entry.path() / "sources");
    const auto sources = recorded_sources(text);
    const auto found = sources.find("vmm");
    if (found != sources.end() && found->second == binary && fingerprint(sources) == text)
      return PinnedVmm{.folder = entry.path(), .digest = entry.path().filename()};
  }
  return std::nullopt;
}

Result<void> write_all(int fd, std::span<const std::byte> bytes, const fs::path& subject) {
  while (!bytes.empty()) {
    const auto count = write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(errno_error(errno, "pin the VMM", subject));
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

Result<UniqueFd> create(const fs::path& path, mode_t mode) {
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!fd || fchmod(fd.get(), mode) != 0) return fail(errno_error(errno, "pin the VMM", path));
  return fd;
}

/// Copies while hashing: name and content go into `digest`.
Result<void> copy_hashed(const fs::path& from, const fs::path& to, const HashContext& digest) {
  const UniqueFd in(open(from.c_str(), O_RDONLY | O_CLOEXEC));
  if (!in) return fail(errno_error(errno, "pin the VMM", from));
  const auto out = NANOBOX_TRY(create(to, 0555));
  std::vector<std::byte> buffer(std::size_t{1} << 20);
  for (;;) {
    const auto count = read(in.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(errno_error(errno, "pin the VMM", from));
    if (count == 0) break;
    const auto piece = std::span(buffer).first(static_cast<std::size_t>(count));
    EVP_DigestUpdate(digest.get(), piece.data(), piece.size());
    NANOBOX_TRY(write_all(out.get(), piece, to));
  }
  if (fsync(out.get()) != 0) return fail(errno_error(errno, "pin the VMM", to));
  return {};
}

/// A folder that is removed again unless it is kept.
class HalfMade {
public:
  explicit HalfMade(fs::path path) : path_(std::move(path)) {}
  HalfMade(const HalfMade&) = delete;
  HalfMade& operator=(const HalfMade&) = delete;
  ~HalfMade() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

private:
  fs::path path_;
};

Result<void> make_folders(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error) fs::permissions(folder, static_cast<fs::perms>(0755), error);
  if (error) return fail(errno_error(error.value(), "pin the VMM", folder));
  return {};
}

Result<PinnedVmm> pin_now(const Sources& sources, const fs::path& folder) {
  const HalfMade half(folder / ".tmp" / make_id("vmm"));
  for (const auto* inside : {"", "lib", "modules", "firmware"}) NANOBOX_TRY(make_folders(half.path() / inside));

  const auto before = fingerprint(sources);
  const auto digest = new_sha256();
  for (const auto& [name, path] : sources) {
    EVP_DigestUpdate(digest.get(), name.c_str(), name.size() + 1);
    NANOBOX_TRY(copy_hashed(path, half.path() / name, digest));
  }
  const auto preload = private_memory_object();
  EVP_DigestUpdate(digest.get(), preload.data(), preload.size());
  {
    const auto out = NANOBOX_TRY(create(half.path() / "private_memory.so", 0555));
    NANOBOX_TRY(write_all(out.get(), preload, half.path()));
    const auto list = NANOBOX_TRY(create(half.path() / "sources", 0444));
    NANOBOX_TRY(write_all(list.get(), std::as_bytes(std::span(before)), half.path()));
    if (fsync(out.get()) != 0 || fsync(list.get()) != 0) return fail(errno_error(errno, "pin the VMM", half.path()));
  }
  if (before.empty() || fingerprint(sources) != before)
    return fail({.code = ErrorCode::vmm_missing,
                 .attempted = "pin the VMM",
                 .subject = sources.at("vmm"),
                 .reason = "it or a library of it changed while it was copied",
                 .mend = "try again when the upgrade is done",
                 .transient = true});

  const auto hex = finish_hex(digest);
  const auto place = folder / hex;
  std::error_code error;
  if (fs::exists(place, error)) {
    // The same content under new times (a reinstalled package): only the list of sources is new.
    fs::rename(half.path() / "sources", place / "sources", error);
  } else {
    fs::rename(half.path(), place, error);
  }
  if (error) return fail(errno_error(error.value(), "pin the VMM", place));
  return PinnedVmm{.folder = place, .digest = hex};
}

}  // namespace

Result<fs::path> find_vmm(const fs::path& name) {
  std::error_code error;
  if (name.has_parent_path()) {
    if (access(name.c_str(), X_OK) != 0) return fail(missing(name, "there is no such program"));
    return fs::canonical(name, error);
  }
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const auto candidate = fs::path(folder) / name;
    if (folder.starts_with('/') && access(candidate.c_str(), X_OK) == 0) return fs::canonical(candidate, error);
  }
  return fail(missing(name, "it is not in PATH"));
}

Result<PinnedVmm> pin_qemu(const fs::path& binary, const fs::path& data_folder) {
  const auto folder = data_folder / "vmm";
  NANOBOX_TRY(make_folders(folder));
  if (const auto pinned = find_pinned(binary, folder)) return *pinned;
  return pin_now(NANOBOX_TRY(find_sources(binary)), folder);
}

}  // namespace nanobox
