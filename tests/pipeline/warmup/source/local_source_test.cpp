#include <catch2/catch.hpp>

#include "config/sha256.hpp"
#include "pulling.hpp"

namespace nanobox {
namespace {

struct LocalPuller : Puller {
  TempFolder images;
  LocalPuller() { settings.local_roots = {images.path()}; }
  std::string oci(const std::string& name) const { return "oci:" + (images / name).string(); }
  std::string archive(const std::string& name) const { return "docker-archive:" + (images / name).string(); }
};

TEST_CASE_METHOD(LocalPuller, "an image in an OCI layout is resolved and pulled", "[local]") {
  const auto image = make_image({noise(3'000'000, 1), noise(10, 2)});
  write_layout(images / "app", {{&image, "1.0"}});
  for (const auto& name : {oci("app"), oci("app:1.0")}) {
    const auto pulling = pull(name);
    REQUIRE(pulling);
    CHECK(pulling->image.name == name);
    CHECK(pulling->image.digest == image.digest);
    CHECK(pulling->image.config.user == "web");
    CHECK(pulling->image.config_json == image.config);
    REQUIRE(pulling->layers.size() == 2);
    CHECK(bytes_of(*pulling->layers[0]) == image.layers[0]);
    CHECK(read_whole(cache->path(image.layer_digests()[1])) == image.layers[1]);
  }
  CHECK(*head_digest(context, settings, {.image = oci("app"), .credentials = std::nullopt, .platform = {}}) ==
        image.digest);
  CHECK(parts() == 0);
}

TEST_CASE_METHOD(LocalPuller, "a layout's tags are told when none or the wrong one is named", "[local]") {
  const auto one = make_image({"one"}), two = make_image({"two"});
  write_layout(images / "app", {{&one, "a"}, {&two, "b"}});
  CHECK(resolve(oci("app:b"))->digest == two.digest);
  for (const auto& name : {oci("app"), oci("app:c")}) {
    const auto resolved = resolve(name);
    REQUIRE_FALSE(resolved);
    CHECK(resolved.error().code == ErrorCode::image_not_found);
    CHECK_THAT(resolved.error().reason, Catch::Contains("a, b"));
  }
}

TEST_CASE_METHOD(LocalPuller, "a folder that is no layout, or a damaged one, is refused", "[local]") {
  std::filesystem::create_directories(images / "empty");
  CHECK(resolve(oci("empty")).error().code == ErrorCode::manifest_invalid);
  CHECK(resolve(oci("missing")).error().code == ErrorCode::image_not_found);
  const auto image = make_image({"one", noise(5000, 3)});
  write_layout(images / "damaged", {{&image, ""}});
  const auto blobs = images / "damaged/blobs/sha256";
  write_file(blobs / image.layer_digests()[1].substr(7), noise(5000, 4));
  CHECK(pull(oci("damaged")).error().code == ErrorCode::digest_mismatch);
  write_file(blobs / image.layer_digests()[1].substr(7), noise(6000, 3));
  CHECK(pull(oci("damaged")).error().code == ErrorCode::digest_mismatch);
  std::filesystem::remove(blobs / image.layer_digests()[1].substr(7));
  CHECK(pull(oci("damaged")).error().code == ErrorCode::image_not_found);
  write_file(blobs / image.config_digest().substr(7), "{}");
  CHECK(resolve(oci("damaged")).error().code == ErrorCode::blob_truncated);
  CHECK(parts() == 0);
}

TEST_CASE_METHOD(LocalPuller, "nothing outside of local_roots is read, however it is reached", "[local]") {
  const auto image = make_image({"secret"});
  const TempFolder outside;
  write_layout(outside / "app", {{&image, ""}});
  write_docker_archive(outside / "app.tar", {{&image, ""}});
  std::filesystem::create_symlink(outside / "app", images / "link");
  std::filesystem::create_symlink(outside / "app.tar", images / "link.tar");
  std::filesystem::create_directories(images / "sub");
  for (const auto& name :
       {"oci:" + (outside / "app").string(), "oci:" + (outside / "missing").string(), oci("link"),
        oci("sub/../../" + outside.path().filename().string() + "/app"), archive("link.tar"),
        "docker-archive:" + (outside / "app.tar").string(), std::string("docker-archive:/etc/passwd")}) {
    INFO(name);
    const auto resolved = resolve(name);
    REQUIRE_FALSE(resolved);
    CHECK(resolved.error().code == ErrorCode::image_source_forbidden);
    CHECK_THAT(resolved.error().mend, Catch::Contains("local_roots"));
    CHECK(check_image_name(settings, name).error().code == ErrorCode::image_source_forbidden);
  }
  CHECK(check_image_name(settings, "node"));
  CHECK(check_image_name(settings, "Node").error().code == ErrorCode::image_name_invalid);
  settings.local_roots.clear();
  CHECK(resolve(oci("sub")).error().code == ErrorCode::image_source_forbidden);
}

TEST_CASE_METHOD(LocalPuller, "a layout's blobs may not be links to elsewhere", "[local]") {
  const TempFolder outside;
  const auto image = make_image({"one"});
  write_layout(images / "app", {{&image, ""}});
  const auto blob = images / "app/blobs/sha256" / image.layer_digests()[0].substr(7);
  write_file(outside / "one", "one");
  std::filesystem::remove(blob);
  std::filesystem::create_symlink(outside / "one", blob);
  CHECK(pull(oci("app")).error().code == ErrorCode::image_source_forbidden);
}

TEST_CASE_METHOD(LocalPuller, "what docker save writes is pulled, compressed inside, outside or not at all",
                 "[local]") {
  const auto plain = make_image({noise(200'000, 5), noise(70'000, 6)});
  const bool outside = GENERATE(false, true);
  write_docker_archive(images / "plain.tar", {{&plain, "1"}}, outside);
  for (const auto& name : {archive("plain.tar"), archive("plain.tar:1")}) {
    const auto pulling = pull(name);
    INFO((pulling ? "" : describe(pulling.error())));
    REQUIRE(pulling);
    REQUIRE(pulling->layers.size() == 2);
    CHECK(bytes_of(*pulling->layers[0]) == plain.layers[0]);
    CHECK(bytes_of(*pulling->layers[1]) == plain.layers[1]);
    CHECK(pulling->image.digest ==
          *head_digest(context, settings, {.image = name, .credentials = std::nullopt, .platform = {}}));
  }
  auto packed = plain;
  packed.layers[0] = gzip(plain.layers[0]);
  write_docker_archive(images / "packed.tar", {{&packed, "1"}}, outside);
  const auto pulling = pull(archive("packed.tar"));
  REQUIRE(pulling);
  CHECK(pulling->image.layers[0].digest == digest_of(packed.layers[0]));
  CHECK(pulling->image.layers[0].media_type == "application/vnd.oci.image.layer.v1.tar+gzip");
  CHECK(pulling->image.config.diff_ids[0] == digest_of(plain.layers[0]));
  CHECK(bytes_of(*pulling->layers[0]) == packed.layers[0]);
}

TEST_CASE_METHOD(LocalPuller, "a docker archive's linked layers and several images are understood", "[local]") {
  const auto same = noise(4000, 7);
  const auto twice = make_image({same, same});
  write_docker_archive(images / "twice.tar", {{&twice, "1"}}, false, false);
  const auto pulling = pull(archive("twice.tar"));
  REQUIRE(pulling);
  CHECK(pulling->layers[0] == pulling->layers[1]);
  const auto other = make_image({"other"});
  write_docker_archive(images / "two.tar", {{&twice, "1"}, {&other, "2"}});
  CHECK(pull(archive("two.tar:2"))->image.config.diff_ids == other.layer_digests());
  const auto unclear = pull(archive("two.tar"));
  REQUIRE_FALSE(unclear);
  CHECK_THAT(unclear.error().reason, Catch::Contains("app:1, app:2"));
}

TEST_CASE_METHOD(LocalPuller, "a file that is no docker archive is refused", "[local]") {
  write_file(images / "junk.tar", noise(20'000, 8));
  write_file(images / "empty.tar", "");
  CHECK(resolve(archive("junk.tar")).error().code == ErrorCode::layer_invalid);
  CHECK_FALSE(resolve(archive("empty.tar")));
  CHECK(resolve(archive("missing.tar")).error().code == ErrorCode::image_not_found);
  CHECK(resolve("docker-archive:" + images.path().string()).error().code == ErrorCode::file_unreadable);
  const auto image = make_image({noise(50'000, 9)});
  write_docker_archive(images / "cut.tar", {{&image, ""}});
  std::filesystem::resize_file(images / "cut.tar", 20'000);
  CHECK_FALSE(resolve(archive("cut.tar")));
}

TEST_CASE_METHOD(LocalPuller, "an image for another platform is refused and told", "[local]") {
  const auto image = make_image({"one"}, {.os = "linux", .architecture = "arm64", .variant = ""});
  write_layout(images / "arm", {{&image, ""}});
  const auto resolved = resolve(oci("arm"));
  REQUIRE_FALSE(resolved);
  CHECK(resolved.error().code == ErrorCode::platform_not_found);
  CHECK(resolved.error().reason == "there is linux/arm64");
}

}  // namespace
}  // namespace nanobox
