#include <catch2/catch.hpp>
#include <fstream>

#include "pipeline/warmup/rootfs/additions.hpp"
#include "tests/pipeline/warmup/rootfs/layers_fixture.hpp"
#include "tests/pipeline/warmup/rootfs/tar_builder.hpp"

using namespace nanobox;
using namespace nanobox::test;
namespace fs = std::filesystem;

TEST_CASE_METHOD(LayersFixture, "a root's identity follows all it is made of and nothing else", "[cache]") {
  const auto image = image_of({TarBuilder().file("a").end()}).image;
  const auto identity = rootfs_identity(image, "init");
  CHECK(identity.size() == 64);
  auto same = image;
  same.name = "other name";
  same.digest = "sha256:other";
  CHECK(rootfs_identity(same, "init") == identity);
  CHECK(rootfs_identity(image, "init2") != identity);
  auto other = image;
  other.config_json = "{\"a\":1}";
  CHECK(rootfs_identity(other, "init") != identity);
  other = image;
  other.layers[0].digest = "sha256:other";
  CHECK(rootfs_identity(other, "init") != identity);
  other = image;
  other.config.platform.variant = "v8";
  CHECK(rootfs_identity(other, "init") != identity);
}

TEST_CASE_METHOD(LayersFixture, "a built root is found, named, and gone when removed", "[cache]") {
  const auto image = image_of({TarBuilder().file("a").end()});
  CHECK_FALSE(find_rootfs(settings.rootfs_folder, rootfs_identity(image.image, "init")));
  const auto built = build_image(image);
  REQUIRE(built);
  const auto found = find_rootfs(settings.rootfs_folder, rootfs_identity(image.image, "init"));
  REQUIRE(found);
  CHECK(found->image_path == built->image_path);
  CHECK(found->size_bytes == built->size_bytes);
  CHECK(found->used_bytes == built->used_bytes);
  CHECK(found->entries == built->entries);

  REQUIRE(link_rootfs_name(settings.rootfs_folder, *built, "node22"));
  REQUIRE(link_rootfs_name(settings.rootfs_folder, *built, "node22"));
  REQUIRE(link_rootfs_name(settings.rootfs_folder, *built, "other"));
  CHECK(fs::file_size(settings.rootfs_folder / "node22.ext4") == built->size_bytes);
  CHECK_FALSE(link_rootfs_name(settings.rootfs_folder, *built, "../node22"));
  unlink_rootfs_name(settings.rootfs_folder, "other");
  CHECK_FALSE(fs::exists(settings.rootfs_folder / "other.ext4"));

  REQUIRE(remove_rootfs(settings.rootfs_folder, built->identity));
  CHECK(left_files().empty());
  CHECK(remove_rootfs(settings.rootfs_folder, built->identity));
}

TEST_CASE_METHOD(LayersFixture, "cleaning removes what is half and keeps what is whole", "[cache]") {
  const auto built = build({TarBuilder().file("a").end()});
  REQUIRE(built);
  REQUIRE(link_rootfs_name(settings.rootfs_folder, *built, "kept"));
  const auto& folder = settings.rootfs_folder;
  std::ofstream(folder / ".tmp" / "half-1") << "x";
  std::ofstream(folder / (std::string(64, 'a') + ".ext4")) << "no record";
  std::ofstream(folder / (std::string(64, 'b') + ".json")) << "{}";
  fs::create_symlink(std::string(64, 'a') + ".ext4", folder / "gone.ext4");
  REQUIRE(clean_rootfs_folder(folder));
  CHECK(left_files().size() == 3);
  CHECK(find_rootfs(folder, built->identity));
  fs::resize_file(built->image_path, 100);
  CHECK_FALSE(find_rootfs(folder, built->identity));
  REQUIRE(clean_rootfs_folder(folder));
  CHECK(left_files().empty());
  REQUIRE(clean_rootfs_folder(scratch.path / "new"));
}

TEST_CASE("env.sh survives any byte that a shell can hold", "[additions]") {
  const ScratchFolder scratch;
  std::string odd;
  for (int byte = 1; byte < 256; ++byte) odd += static_cast<char>(byte);
  const auto script = env_script({"ODD=" + odd, "EMPTY=", "not a name=x", "1X=y", "novalue", std::string("NUL=a\0b", 7),
                                  "X=$(touch /tmp/never)`id`"});
  std::ofstream(scratch.path / "env.sh", std::ios::binary) << script;
  std::ofstream(scratch.path / "expected", std::ios::binary) << odd;
  const auto folder = scratch.path.string();
  CHECK(std::system(
            ("cd " + folder +
             " && LC_ALL=C sh -c '. ./env.sh && printf %s \"$ODD\" | cmp - expected && test \"${EMPTY-unset}\" = \"\"'")
                .c_str()) == 0);
  CHECK(script.find("NUL") == std::string::npos);
  CHECK(script.find("not a name") == std::string::npos);
  CHECK(script.find("X='$(touch") != std::string::npos);
}
