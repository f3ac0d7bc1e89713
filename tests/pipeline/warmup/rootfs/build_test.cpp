#include <catch2/catch.hpp>

#include "tests/pipeline/warmup/rootfs/layers_fixture.hpp"
#include "tests/pipeline/warmup/rootfs/tar_builder.hpp"

using namespace nanobox;
using namespace nanobox::test;

TEST_CASE_METHOD(LayersFixture, "an ordinary gzip layer becomes a clean file system", "[rootfs]") {
  TarBuilder tar;
  tar.folder("./").folder("./bin").folder("./etc").file("./bin/sh", std::string(100'000, 'x'), 0755);
  tar.symlink("./bin/ash", "sh").hard_link("./bin/dash", "./bin/sh").file("./etc/passwd", "root:x:0:0::/:/bin/sh\n");
  for (int at = 0; at < 300; ++at) tar.symlink("./bin/applet" + std::to_string(at), "/bin/busybox");
  const auto bytes = tar.end();
  const auto tree = tree_of_image(image_of({gzipped(bytes)}, {bytes}));

  CHECK(tree.at("/bin/sh").content == std::string(100'000, 'x'));
  CHECK(tree.at("/bin/sh").mode == 0755);
  CHECK(tree.at("/bin/sh").links == 2);
  CHECK(tree.at("/bin/dash").inode == tree.at("/bin/sh").inode);
  CHECK(tree.at("/bin/ash").content == "sh");
  CHECK(tree.at("/bin/applet299").content == "/bin/busybox");
  CHECK(tree.at("/etc/passwd").content == "root:x:0:0::/:/bin/sh\n");
  CHECK(tree.at("/etc/passwd").mtime == 1'700'000'000);
}

TEST_CASE_METHOD(LayersFixture, "what NanoBox adds is in the root", "[rootfs]") {
  const auto built =
      build({TarBuilder().folder("usr/sbin").symlink("sbin", "usr/sbin").file("tmp", "no folder").end()});
  REQUIRE(built);
  CHECK(e2fsck_complaints(built->image_path).empty());
  const auto tree = read_image(built->image_path);
  CHECK(tree.at("/sbin").type == 'l');
  CHECK(tree.at("/usr/sbin/nanobox-init").mode == 0755);
  CHECK(tree.at("/usr/sbin/nanobox-init").content == std::string(5000, 'i'));
  CHECK(tree.at("/etc/nanobox/env.sh").content == "export PATH='/bin'\nexport QUOTE='it'\\''s \"$HOME\"\n'\n");
  CHECK(tree.at("/tmp").type == 'd');
  CHECK(tree.at("/tmp").mode == 01777);
  CHECK(tree.at("/proc").type == 'd');
  CHECK(left_files().size() == 2);
}
