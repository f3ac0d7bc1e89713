// artifact_bench FOLDER [MIB ROUNDS]: a file of which every other mebibyte is a hole goes from one process to another
// over loopback TCP, without TLS: as an artifact, and by read and write alone, all of it ("whole") and its data only
// ("plain"), alternating. Medians; all rates are those of the data.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/unique_fd.hpp"
#include "pipeline/cluster/artifact/fetch_artifact.hpp"
#include "pipeline/cluster/artifact/open_artifact.hpp"
#include "pipeline/cluster/artifact/serve_artifacts.hpp"

using namespace nanobox;

namespace {

namespace fs = std::filesystem;

constexpr std::size_t mebibyte = 1U << 20;

template <class T>
T must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", describe(result.error()).c_str());
    std::_Exit(1);
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

void must_hold(bool holds, const char* what) {
  if (holds) return;
  std::perror(what);
  std::_Exit(1);
}

class TcpStream final : public ByteStream {
public:
  explicit TcpStream(UniqueFd socket) : socket_(std::move(socket)) {}
  Result<std::size_t> read(std::span<std::byte> into) override {
    const auto count = ::recv(socket_.get(), into.data(), into.size(), 0);
    if (count < 0) return fail(errno_error(errno, "receive", "", ErrorCode::connection_lost));
    return static_cast<std::size_t>(count);
  }
  Result<void> write(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const auto count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count < 0) return fail(errno_error(errno, "send", "", ErrorCode::connection_lost));
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return {};
  }
  void cut() override { ::shutdown(socket_.get(), SHUT_RDWR); }
  int fd() const { return socket_.get(); }

private:
  UniqueFd socket_;
};

class Catalogue final : public ArtifactCatalogue {
public:
  explicit Catalogue(fs::path folder) : folder_(std::move(folder)) {}
  Result<OpenArtifact> open(const std::string&, const std::string& name, const ScanProgress& progress) const override {
    return open_artifact(name, {{"disk", folder_ / "disk"}}, folder_ / "disk.chunks", progress);
  }

private:
  fs::path folder_;
};

/// What a file's data takes at the least: the same amounts read and sent as the artifact's, in order, no questions.
void send_plainly(const TcpStream& stream, const fs::path& path, std::uint64_t size, std::uint64_t stride) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const auto buffer = std::make_unique<std::byte[]>(mebibyte);
  for (std::uint64_t at = 0; at < size; at += stride) {
    must_hold(::pread(file.get(), buffer.get(), mebibyte, static_cast<off_t>(at)) == mebibyte, "read");
    for (std::size_t sent = 0; sent < mebibyte;) {
      const auto count = ::send(stream.fd(), buffer.get() + sent, mebibyte - sent, MSG_NOSIGNAL);
      must_hold(count > 0, "send");
      sent += static_cast<std::size_t>(count);
    }
  }
}

void receive_plainly(const TcpStream& stream, const fs::path& path, std::uint64_t size, std::uint64_t stride,
                     bool durable) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  must_hold(::ftruncate(file.get(), static_cast<off_t>(size)) == 0, "truncate");
  const auto buffer = std::make_unique<std::byte[]>(mebibyte);
  for (std::uint64_t at = 0; at < size; at += stride) {
    for (std::size_t got = 0; got < mebibyte;) {
      const auto count = ::recv(stream.fd(), buffer.get() + got, mebibyte - got, 0);
      must_hold(count > 0, "receive");
      got += static_cast<std::size_t>(count);
    }
    must_hold(::pwrite(file.get(), buffer.get(), mebibyte, static_cast<off_t>(at)) == mebibyte, "write");
  }
  if (durable) must_hold(::fsync(file.get()) == 0, "sync");
}

struct Cost {
  double seconds;
  double processor;  // seconds of both processes
};

double processor_seconds() {
  double sum = 0;
  for (const auto whose : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    struct rusage usage {};
    ::getrusage(whose, &usage);
    for (const auto& time : {usage.ru_utime, usage.ru_stime})
      sum += static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  }
  return sum;
}

/// Runs `serve` in a child at the other end of a connection while `work` runs here. @returns what `work` took
Cost over_tcp(const std::function<void(TcpStream&)>& serve, const std::function<void(TcpStream&)>& work) {
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  must_hold(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), length) == 0 &&
                ::listen(listener.get(), 1) == 0 &&
                ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0,
            "listen");
  const auto before = processor_seconds();
  const auto child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    TcpStream stream(UniqueFd(::accept(listener.get(), nullptr, nullptr)));
    serve(stream);
    std::_Exit(0);
  }
  double seconds = 0;
  {
    TcpStream stream(UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    must_hold(::connect(stream.fd(), reinterpret_cast<sockaddr*>(&address), length) == 0, "connect");
    const auto begin = std::chrono::steady_clock::now();
    work(stream);
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  int status = 0;
  must_hold(::waitpid(child, &status, 0) == child && status == 0, "the other process");
  return {.seconds = seconds, .processor = processor_seconds() - before};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) return std::fprintf(stderr, "artifact_bench FOLDER [MIB ROUNDS]\n"), 2;
  const fs::path folder = fs::path(arguments[1]) / "artifact-bench";
  const std::uint64_t size = (count > 2 ? std::stoull(arguments[2]) : 512) * mebibyte;
  const int rounds = count > 3 ? std::stoi(arguments[3]) : 5;
  fs::remove_all(folder);
  fs::create_directories(folder / "here");
  {
    const UniqueFd file(::open((folder / "disk").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    must_hold(::ftruncate(file.get(), static_cast<off_t>(size)) == 0, "truncate");
    std::vector<std::uint64_t> words(mebibyte / 8);
    std::uint64_t seed = 1;
    for (std::uint64_t at = 0; at < size; at += 2 * mebibyte) {
      for (auto& word : words) word = seed = seed * 6364136223846793005U + 1442695040888963407U;
      must_hold(::pwrite(file.get(), words.data(), mebibyte, static_cast<off_t>(at)) == mebibyte, "write");
    }
  }
  const Catalogue catalogue(folder);
  std::vector<double> manifests;
  for (int round = 0; round < rounds; ++round) {
    fs::remove(folder / "disk.chunks");
    const auto begin = std::chrono::steady_clock::now();
    must(catalogue.open("", "disk", {}));
    manifests.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  const double data_mib = static_cast<double>(size / 2) / mebibyte;
  std::printf("%.0f MiB of data in a file of %.0f MiB\n", data_mib, 2 * data_mib);
  std::printf("  manifest, made anew       %6.0f ms  %6.0f MiB/s\n", 1000 * median(manifests),
              data_mib / median(manifests));
  for (const bool durable : {false, true}) {
    std::vector<Cost> whole, plain, artifact;
    for (int round = 0; round < rounds; ++round) {
      const auto copy = [&](std::uint64_t stride) {
        fs::remove(folder / "plain");
        return over_tcp([&](auto& stream) { send_plainly(stream, folder / "disk", size, stride); },
                        [&](auto& stream) { receive_plainly(stream, folder / "plain", size, stride, durable); });
      };
      whole.push_back(copy(mebibyte));
      plain.push_back(copy(2 * mebibyte));
      fs::remove(folder / "here" / "disk");
      artifact.push_back(over_tcp([&](auto& stream) { must(serve_artifacts(stream, catalogue)); },
                                  [&](auto& stream) {
                                    must(fetch_artifact(stream, {.ticket = "",
                                                                 .name = "disk",
                                                                 .tmp_folder = folder / ".tmp",
                                                                 .destination = folder / "here",
                                                                 .durable = durable}));
                                  }));
    }
    std::printf("  %s\n", durable ? "synced" : "not synced");
    const auto print = [&](const char* what, const std::vector<Cost>& costs) {
      std::vector<double> seconds, processor;
      for (const auto& cost : costs) {
        seconds.push_back(cost.seconds);
        processor.push_back(cost.processor);
      }
      std::printf("    %-8s  %5.0f ms (least %4.0f)  %5.0f MiB/s  %5.0f ms of processors\n", what,
                  1000 * median(seconds), 1000 * *std::min_element(seconds.begin(), seconds.end()),
                  data_mib / median(seconds), 1000 * median(processor));
      return median(seconds);
    };
    const auto whole_seconds = print("whole", whole), plain_seconds = print("plain", plain),
               artifact_seconds = print("artifact", artifact);
    std::printf("    %.0f %% of plain, %.0f %% of the whole file copied\n", 100 * plain_seconds / artifact_seconds,
                100 * whole_seconds / artifact_seconds);
  }
  fs::remove_all(folder);
}
