#include <catch2/catch.hpp>

#include "artifact_node.hpp"
#include "pipeline/cluster/artifact/byte_codec.hpp"
#include "pipeline/cluster/artifact/frame_stream.hpp"
#include "pipeline/cluster/artifact/message.hpp"

using namespace nanobox;
using namespace nanobox::test;

namespace {

using Bytes = std::vector<std::byte>;

Bytes header_of(std::uint8_t version, std::uint8_t type, std::uint32_t length) {
  ByteWriter writer;
  writer.number(version);
  writer.number(type);
  writer.number(std::uint16_t{0});
  writer.number(length);
  return writer.take();
}

void send_manifest(ByteStream& stream, const Bytes& manifest, std::uint32_t total) {
  ByteWriter writer;
  writer.number(total);
  writer.raw(manifest);
  (void)write_frame(stream, FrameType::manifest, writer.take());
}

void send_data(ByteStream& stream, std::uint64_t chunk, std::size_t bytes) {
  ByteWriter writer;
  writer.number(chunk);
  writer.raw(Bytes(bytes, std::byte{'x'}));
  (void)write_frame(stream, FrameType::data, writer.take());
}

/// One file of two chunks, x all over.
ArtifactManifest true_manifest() {
  const Bytes chunk(1U << 20, std::byte{'x'});
  return {.name = "root",
          .files = {{.name = "root.ext4",
                     .mode = 0600,
                     .size = 2U << 20,
                     .extents = {{0, 2U << 20}},
                     .digests = {chunk_digest(chunk), chunk_digest(chunk)}},
                    {.name = "root.json", .mode = 0600, .size = 0, .extents = {}, .digests = {}}}};
}

/// Fetches from a server that does `act` once it has read the get.
Result<FetchedArtifact> fetch_from(const std::function<void(SocketStream&)>& act, const Folder& here,
                                   FetchRequest request) {
  auto ends = connected_sockets();
  SocketStream stream(std::move(ends.first)), server(std::move(ends.second));
  std::thread thread([&] {
    if (const auto header = read_frame_header(server); header && *header) {
      (void)read_content(server, **header);
      act(server);
    }
    server.end_writing();
    std::byte rest[4096];
    for (auto count = server.read(rest); count && *count != 0;) count = server.read(rest);
  });
  auto fetched = fetch_artifact(stream, request);
  stream.cut();
  thread.join();
  CHECK_FALSE(fs::exists(here.path().parent_path() / "nanobox-escaped"));
  return fetched;
}

}  // namespace

TEST_CASE("a server that breaks the protocol is found out", "[artifact]") {
  const auto good = encode_manifest(true_manifest());
  const auto length = static_cast<std::uint32_t>(good.size());
  std::function<void(SocketStream&)> act;
  SECTION("a frame that is too long") {
    act = [](auto& stream) { (void)stream.write(header_of(1, 18, 0xFFFFFFFF)); };
  }
  SECTION("an unknown frame") {
    act = [](auto& stream) { (void)stream.write(header_of(1, 99, 4)); };
  }
  SECTION("a client's frame") {
    act = [](auto& stream) { (void)write_frame(stream, FrameType::chunks, encode(ChunksMessage{0, 1})); };
  }
  SECTION("an endless manifest") {
    act = [](auto& stream) {
      const Bytes part(1U << 20);
      for (int i = 0; i < 100; ++i) send_manifest(stream, part, 0xFFFFFFFF);
    };
  }
  SECTION("a manifest longer than it said") {
    act = [&](auto& stream) { send_manifest(stream, good, length - 1); };
  }
  SECTION("a manifest of empty parts") {
    act = [&](auto& stream) { send_manifest(stream, {}, length); };
  }
  SECTION("endless preparation") {
    act = [&](auto& stream) {
      for (int i = 0; i < 3; ++i) (void)write_frame(stream, FrameType::preparing, encode(PreparingMessage{1, 1}));
    };
  }
  SECTION("no manifest but bytes") {
    act = [&](auto& stream) { send_manifest(stream, Bytes(100, std::byte{7}), 100); };
  }
  SECTION("names that lead elsewhere") {
    act = [&](auto& stream) {
      auto manifest = true_manifest();
      manifest.files[0].name = "../nanobox-escaped";
      const auto bytes = encode_manifest(manifest);
      send_manifest(stream, bytes, static_cast<std::uint32_t>(bytes.size()));
    };
  }
  SECTION("files of another artifact") {
    act = [&](auto& stream) {
      auto manifest = true_manifest();
      manifest.files[0].name = "another.ext4";
      const auto bytes = encode_manifest(manifest);
      send_manifest(stream, bytes, static_cast<std::uint32_t>(bytes.size()));
    };
  }
  SECTION("another artifact") {
    act = [&](auto& stream) {
      auto manifest = true_manifest();
      manifest.name = "another";
      const auto bytes = encode_manifest(manifest);
      send_manifest(stream, bytes, static_cast<std::uint32_t>(bytes.size()));
    };
  }
  SECTION("extents outside of the file") {
    act = [&](auto& stream) {
      auto manifest = true_manifest();
      manifest.files[0].extents[0].offset = 1U << 20;
      const auto bytes = encode_manifest(manifest);
      send_manifest(stream, bytes, static_cast<std::uint32_t>(bytes.size()));
    };
  }
  SECTION("another chunk than asked for") {
    act = [&](auto& stream) {
      send_manifest(stream, good, length);
      send_data(stream, 1, 1U << 20);
    };
  }
  SECTION("a chunk twice") {
    act = [&](auto& stream) {
      send_manifest(stream, good, length);
      send_data(stream, 0, 1U << 20);
      send_data(stream, 0, 1U << 20);
    };
  }
  SECTION("a chunk beyond the end") {
    act = [&](auto& stream) {
      send_manifest(stream, good, length);
      send_data(stream, UINT64_MAX, 1U << 20);
    };
  }
  SECTION("too few bytes for a chunk") {
    act = [&](auto& stream) {
      send_manifest(stream, good, length);
      send_data(stream, 0, 100);
    };
  }
  SECTION("a second manifest instead of data") {
    act = [&](auto& stream) {
      send_manifest(stream, good, length);
      send_manifest(stream, good, length);
    };
  }
  const Folder here;
  const auto fetched = fetch_from(act, here, request_to(here));
  REQUIRE_FALSE(fetched);
  CHECK(fetched.error().code == ErrorCode::peer_untrusted);
  CHECK(is_source_bad(fetched.error()));
  CHECK_FALSE(fs::exists(here / "root.ext4"));
}

TEST_CASE("a server of another version is told from a hostile one", "[artifact]") {
  const Folder here;
  const auto fetched =
      fetch_from([](auto& stream) { (void)stream.write(header_of(2, 18, 10)); }, here, request_to(here));
  REQUIRE_FALSE(fetched);
  CHECK(fetched.error().code == ErrorCode::version_incompatible);
}

TEST_CASE("a server that ends early has lost the connection, wherever that is", "[artifact]") {
  const auto good = encode_manifest(true_manifest());
  std::function<void(SocketStream&)> act;
  SECTION("without a word") {
    act = [](auto&) {};
  }
  SECTION("in a header") {
    act = [](auto& stream) { (void)stream.write(Bytes(3, std::byte{1})); };
  }
  SECTION("in the manifest") {
    act = [&](auto& stream) { send_manifest(stream, Bytes(good.begin(), good.begin() + 50), 200); };
  }
  SECTION("before the data") {
    act = [&](auto& stream) { send_manifest(stream, good, static_cast<std::uint32_t>(good.size())); };
  }
  SECTION("in the data") {
    act = [&](auto& stream) {
      send_manifest(stream, good, static_cast<std::uint32_t>(good.size()));
      (void)stream.write(header_of(1, 19, 8 + (1U << 20)));
      (void)stream.write(Bytes(1000));
    };
  }
  const Folder here;
  const auto fetched = fetch_from(act, here, request_to(here));
  REQUIRE_FALSE(fetched);
  CHECK(fetched.error().code == ErrorCode::connection_lost);
  CHECK(fetched.error().transient);
}

TEST_CASE("a manifest that is not the one known from elsewhere is refused", "[artifact]") {
  const auto good = encode_manifest(true_manifest());
  const auto act = [&](auto& stream) {
    send_manifest(stream, good, static_cast<std::uint32_t>(good.size()));
    send_data(stream, 0, 1U << 20);
    send_data(stream, 1, 1U << 20);
  };
  const Folder here;
  auto request = request_to(here);
  request.digest = ChunkDigest{};
  const auto refused = fetch_from(act, here, request);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::digest_mismatch);
  request.digest = manifest_digest(true_manifest());
  CHECK(fetch_from(act, here, request));
}

TEST_CASE("a server's refusal does not pass for an error of this node, and prints", "[artifact]") {
  const Folder here;
  const auto fetched = fetch_from(
      [](auto& stream) {
        (void)write_frame(
            stream, FrameType::refused,
            encode(Error{
                .code = ErrorCode::disk_full, .attempted = "\x1b[2J", .subject = "", .reason = "a\nb", .mend = ""}));
      },
      here, request_to(here));
  REQUIRE_FALSE(fetched);
  CHECK(fetched.error().code == ErrorCode::io_failed);
  CHECK(fetched.error().reason.find_first_of("\x1b\n") == std::string::npos);
}

TEST_CASE("a client that breaks the protocol is told and left", "[artifact]") {
  Node node;
  make_root(node);
  Serving serving(node);
  auto& stream = serving.stream;
  const auto get = encode(GetMessage{"ticket", "root"});
  auto expected = ErrorCode::peer_untrusted;
  const auto open = [&] {
    REQUIRE(write_frame(stream, FrameType::get, get));
    const auto header = read_frame_header(stream);
    REQUIRE((header && *header));
    REQUIRE((*header)->type == FrameType::manifest);
    REQUIRE(read_content(stream, **header));
  };
  SECTION("a frame that is too long") {
    REQUIRE(stream.write(header_of(1, 1, 1U << 20)));
  }
  SECTION("a server's frame") {
    REQUIRE(write_frame(stream, FrameType::data, Bytes(20)));
  }
  SECTION("an unknown frame") {
    REQUIRE(stream.write(header_of(1, 0, 0)));
  }
  SECTION("another version") {
    REQUIRE(stream.write(header_of(9, 1, 0)));
    expected = ErrorCode::version_incompatible;
  }
  SECTION("a get without an end") {
    REQUIRE(write_frame(stream, FrameType::get, Bytes(3)));
  }
  SECTION("a get with more behind it") {
    auto longer = get;
    longer.emplace_back();
    REQUIRE(write_frame(stream, FrameType::get, longer));
  }
  SECTION("a name that leads elsewhere") {
    REQUIRE(write_frame(stream, FrameType::get, encode(GetMessage{"ticket", "../root"})));
  }
  SECTION("chunks of nothing") {
    REQUIRE(write_frame(stream, FrameType::chunks, encode(ChunksMessage{0, 1})));
  }
  SECTION("chunks beyond the end") {
    open();
    REQUIRE(write_frame(stream, FrameType::chunks, encode(ChunksMessage{8, 2})));
  }
  SECTION("chunks that wrap") {
    open();
    REQUIRE(write_frame(stream, FrameType::chunks, encode(ChunksMessage{UINT64_MAX, 2})));
  }
  SECTION("no chunks") {
    open();
    REQUIRE(write_frame(stream, FrameType::chunks, encode(ChunksMessage{0, 0})));
  }
  SECTION("very many chunks") {
    open();
    REQUIRE(write_frame(stream, FrameType::chunks, encode(ChunksMessage{0, UINT32_MAX})));
  }
  const auto header = read_frame_header(stream);
  REQUIRE((header && *header));
  CHECK((*header)->type == FrameType::refused);
  const auto content = read_content(stream, **header);
  REQUIRE(content);
  const auto refusal = decode_refusal(*content);
  REQUIRE(refusal);
  CHECK(refusal->code == expected);
  const auto ended = serving.end();
  REQUIRE_FALSE(ended);
  CHECK(ended.error().code == expected);
}

TEST_CASE("a client that goes away in the middle ends its server", "[artifact]") {
  Node node;
  make_root(node);
  Serving serving(node);
  REQUIRE(write_frame(serving.stream, FrameType::get, encode(GetMessage{"ticket", "root"})));
  REQUIRE(write_frame(serving.stream, FrameType::chunks, encode(ChunksMessage{0, 8})));
  serving.stream.cut();
  const auto ended = serving.end();
  REQUIRE_FALSE(ended);
  CHECK(ended.error().code == ErrorCode::connection_lost);
}
