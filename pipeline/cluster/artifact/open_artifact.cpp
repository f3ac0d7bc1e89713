#include "pipeline/cluster/artifact/open_artifact.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "pipeline/cluster/artifact/limits.hpp"
#include "pipeline/cluster/artifact/manifest_cache.hpp"
#include "pipeline/cluster/artifact/scan_file.hpp"

namespace nanobox {

namespace {

constexpr std::uint64_t kProgressBytes = 32U << 20;

Error refused(ErrorCode code, const std::string& subject, std::string reason) {
  return {.code = code,
          .attempted = "open artifact",
          .subject = subject,
          .reason = std::move(reason),
          .mend = "",
          .transient = code == ErrorCode::conflict};
}

Result<UniqueFd> open_file(const ArtifactPath& file) {
  // Without O_NONBLOCK a FIFO would block.
  UniqueFd fd(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd && errno == ENOENT) return fail(refused(ErrorCode::artifact_missing, file.path, "there is no such file"));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0) return fail(errno_error(errno, "open artifact", file.path));
  if (!S_ISREG(status.st_mode)) return fail(refused(ErrorCode::invalid_value, file.path, "it is no regular file"));
  return fd;
}

Result<std::vector<UniqueFd>> open_files(const std::string& name, const std::vector<ArtifactPath>& files) {
  if (!is_artifact_name(name)) return fail(refused(ErrorCode::invalid_value, name, "the name is not a plain one"));
  if (files.size() > kMostArtifactFiles) return fail(refused(ErrorCode::invalid_value, name, "it has too many files"));
  std::vector<UniqueFd> fds;
  for (const auto& file : files) {
    if (!is_artifact_name(file.name))
      return fail(refused(ErrorCode::invalid_value, file.name, "the name is not a plain one"));
    fds.push_back(NANOBOX_TRY(open_file(file)));
  }
  return fds;
}

Result<std::vector<FileMark>> marks_of(const std::vector<UniqueFd>& files) {
  std::vector<FileMark> marks;
  for (const auto& file : files) marks.push_back(NANOBOX_TRY(mark_of(file.get())));
  return marks;
}

std::uint64_t allocated_bytes(const std::vector<UniqueFd>& files) {
  std::uint64_t sum = 0;
  for (const auto& file : files) {
    struct stat status {};
    if (::fstat(file.get(), &status) == 0) sum += static_cast<std::uint64_t>(status.st_blocks) * 512;
  }
  return sum;
}

}  // namespace

Result<OpenArtifact> open_artifact(const std::string& name, const std::vector<ArtifactPath>& files,
                                   const std::filesystem::path& cache, const ScanProgress& progress) {
  OpenArtifact artifact{.manifest = {}, .files = NANOBOX_TRY(open_files(name, files))};
  const auto marks = NANOBOX_TRY(marks_of(artifact.files));
  if (auto cached = read_cached_manifest(cache, marks)) {
    bool same = cached->name == name && cached->files.size() == files.size();
    for (std::size_t i = 0; same && i < files.size(); ++i) same = cached->files[i].name == files[i].name;
    if (same) {
      artifact.manifest = std::move(*cached);
      return artifact;
    }
  }
  const auto total = allocated_bytes(artifact.files);
  std::uint64_t done = 0, told = 0;
  const auto on_scanned = [&](std::uint64_t bytes) {
    done += bytes;
    if (!progress || done - told < kProgressBytes) return;
    told = done;
    progress(done, std::max(done, total));
  };
  artifact.manifest.name = name;
  for (std::size_t i = 0; i < files.size(); ++i)
    artifact.manifest.files.push_back(NANOBOX_TRY(scan_file(artifact.files[i].get(), files[i].name, on_scanned)));
  if (NANOBOX_TRY(marks_of(artifact.files)) != marks)
    return fail(refused(ErrorCode::conflict, name, "a file of it changed while it was read"));
  // A manifest that cannot be kept is made again the next time.
  (void)write_cached_manifest(cache, marks, artifact.manifest);
  return artifact;
}

Result<void> remember_manifest(const ArtifactManifest& manifest, const std::vector<ArtifactPath>& files,
                               const std::filesystem::path& cache) {
  const auto fds = NANOBOX_TRY(open_files(manifest.name, files));
  return write_cached_manifest(cache, NANOBOX_TRY(marks_of(fds)), manifest);
}

}  // namespace nanobox
