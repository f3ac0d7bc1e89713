// The rules of OCI image-spec layer.md and of design/ext4.md's table, one case each, seen in the finished image.
#include <catch2/catch.hpp>

#include "tests/pipeline/warmup/rootfs/layers_fixture.hpp"
#include "tests/pipeline/warmup/rootfs/tar_builder.hpp"

using namespace nanobox;
using namespace nanobox::test;
using Catch::Contains;

TEST_CASE_METHOD(LayersFixture, "a whiteout hides lower layers only, wherever it stands", "[merge]") {
  const auto lower = TarBuilder().folder("d").file("d/gone", "1").file("d/kept", "1").file("top", "1").end();
  const auto upper =
      TarBuilder().file("d/.wh.gone").file("d/new", "2").file("top", "2").file(".wh.top").file("d/.wh.new").end();
  const auto tree = tree_of({lower, upper});
  CHECK_FALSE(tree.contains("/d/gone"));
  CHECK(tree.at("/d/kept").content == "1");
  CHECK(tree.at("/d/new").content == "2");
  CHECK(tree.at("/top").content == "2");
  for (const auto& [path, seen] : tree) CHECK(path.find(".wh.") == std::string::npos);
}

TEST_CASE_METHOD(LayersFixture, "an opaque folder hides what lower layers had in it", "[merge]") {
  const auto lower = TarBuilder().folder("d", 0700).file("d/a", "1").folder("d/sub").file("d/sub/b", "1").end();
  const auto upper = TarBuilder().file("d/new", "2").file("d/.wh..wh..opq").end();
  const auto tree = tree_of({lower, upper});
  CHECK(tree.at("/d").mode == 0700);
  CHECK(tree.at("/d/new").content == "2");
  CHECK_FALSE(tree.contains("/d/a"));
  CHECK_FALSE(tree.contains("/d/sub"));
}

TEST_CASE_METHOD(LayersFixture, "whiteouts of what is not there, and other aufs marks, do nothing", "[merge]") {
  const auto tree = tree_of({TarBuilder().file("a", "1").end(), TarBuilder()
                                                                    .file(".wh.nothing")
                                                                    .file("no/such/.wh.folder")
                                                                    .file("a/.wh.b")
                                                                    .file("nowhere/.wh..wh..opq")
                                                                    .file(".wh..wh.aufs")
                                                                    .folder(".wh..wh.plnk")
                                                                    .file(".wh..wh.plnk/1.2", "x")
                                                                    .end()});
  CHECK(tree.at("/a").content == "1");
  CHECK(tree.size() == 4);  // root, a, and what we add: etc, sbin
}

TEST_CASE_METHOD(LayersFixture, "a folder made again above its whiteout is empty", "[merge]") {
  const auto lower = TarBuilder().folder("d", 0700).file("d/a", "1").end();
  const auto middle = TarBuilder().file(".wh.d").end();
  const auto upper = TarBuilder().folder("d", 0711).end();
  for (const auto& tree :
       {tree_of({lower, middle, upper}), tree_of({lower, TarBuilder().folder("d", 0711).file(".wh.d").end()})}) {
    CHECK(tree.at("/d").mode == 0711);
    CHECK_FALSE(tree.contains("/d/a"));
  }
}

TEST_CASE_METHOD(LayersFixture, "a folder over a folder replaces its metadata and keeps its children", "[merge]") {
  TarBuilder upper;
  upper.add({.path = "d", .type = '5', .mode = 01750, .uid = 5, .gid = 6, .mtime = 42, .xattrs = {{"user.new", "2"}}});
  TarBuilder lower;
  lower.add({.path = "d", .type = '5', .mode = 0755, .xattrs = {{"user.old", "1"}}}).file("d/a", "1");
  const auto tree = tree_of({lower.end(), upper.end()});
  const auto& folder = tree.at("/d");
  CHECK(folder.mode == 01750);
  CHECK(folder.uid == 5);
  CHECK(folder.gid == 6);
  CHECK(folder.mtime == 42);
  CHECK(folder.xattrs == std::map<std::string, std::string>{{"user.new", "2"}});
  CHECK(tree.contains("/d/a"));
}

TEST_CASE_METHOD(LayersFixture, "any other change of type replaces the whole subtree", "[merge]") {
  const auto lower = TarBuilder().folder("d/e").file("d/e/f", "1").file("file", "1").symlink("link", "file").end();
  const auto upper = TarBuilder().file("d", "now a file").folder("file").file("file/in", "2").folder("link").end();
  const auto tree = tree_of({lower, upper});
  CHECK(tree.at("/d").content == "now a file");
  CHECK_FALSE(tree.contains("/d/e"));
  CHECK(tree.at("/file/in").content == "2");
  CHECK(tree.at("/link").type == 'd');
}

TEST_CASE_METHOD(LayersFixture, "of duplicates in one layer the last wins", "[merge]") {
  const auto tree = tree_of({TarBuilder().file("a", std::string(9000, '1')).file("a", "2").end()});
  CHECK(tree.at("/a").content == "2");
}

TEST_CASE_METHOD(LayersFixture, "missing parents are made and symlinks on the way stay inside the tree", "[merge]") {
  const auto lower = TarBuilder()
                         .folder("real")
                         .symlink("abs", "/real")
                         .symlink("up", "../../../real")
                         .symlink("dangling", "made/later")
                         .end();
  const auto upper = TarBuilder()
                         .file("x/y/z", "1")
                         .file("abs/a", "2")
                         .file("up/b", "3")
                         .file("dangling/c", "4")
                         .file("../../d", "5")
                         .file("/e//./f", "6")
                         .end();
  const auto tree = tree_of({lower, upper});
  CHECK(tree.at("/x").mode == 0755);
  CHECK(tree.at("/x/y/z").content == "1");
  CHECK(tree.at("/real/a").content == "2");
  CHECK(tree.at("/real/b").content == "3");
  CHECK(tree.at("/made/later/c").content == "4");
  CHECK(tree.at("/d").content == "5");
  CHECK(tree.at("/e/f").content == "6");
  CHECK(tree.at("/abs").type == 'l');
}

TEST_CASE_METHOD(LayersFixture, "an escape attempt changes nothing on the host", "[merge]") {
  const auto outside = scratch.path / "outside";
  TarBuilder tar;
  tar.symlink("out", outside.string())
      .file("out/file", "x")
      .file(std::string("../../../..") + outside.string() + "/other", "y");
  tar.symlink("etc-link", "/etc/shadow");
  const auto tree = tree_of({tar.end()});
  CHECK_FALSE(std::filesystem::exists(outside));
  CHECK(tree.at(outside.string() + "/file").content == "x");
  CHECK(tree.at(outside.string() + "/other").content == "y");
  const auto error = error_of({TarBuilder().hard_link("shadow", "/etc/shadow").end()});
  CHECK(error.code == ErrorCode::layer_invalid);
  CHECK(error.subject == "shadow");
  CHECK_THAT(error.reason, Contains("etc/shadow") && Contains("does not exist"));
}

TEST_CASE_METHOD(LayersFixture, "entries that cannot be are refused by name", "[merge]") {
  const auto refused = [this](const TarBuilder& tar, const char* subject, const char* reason) {
    const auto error = error_of({tar.end()});
    CHECK(error.code == ErrorCode::layer_invalid);
    CHECK(error.subject == subject);
    CHECK_THAT(error.reason, Contains(reason));
  };
  refused(TarBuilder().symlink("l", "l").file("l/x"), "l/x", "40 symlinks");
  refused(TarBuilder().symlink("a", "b").symlink("b", "a").file("a/x"), "a/x", "40 symlinks");
  refused(TarBuilder().file("f").file("f/x"), "f/x", "no folder");
  refused(TarBuilder().folder("a/.."), "a/..", "\"..\"");
  refused(TarBuilder().file(std::string(256, 'n')), std::string(256, 'n').c_str(), "255");
  refused(TarBuilder().folder("d").hard_link("h", "d"), "h", "is a folder");
  refused(TarBuilder().file("d/.wh."), "d/.wh.", "names nothing");
  refused(TarBuilder().file("d/.wh..."), "d/.wh...", "names nothing");
  refused(TarBuilder().symlink("s", ""), "s", "target");
  refused(TarBuilder().symlink("s", std::string(4096, 't')), "s", "4095");
  refused(TarBuilder().file("./"), "/", "root");
}

TEST_CASE_METHOD(LayersFixture, "hard links share an inode, across layers too", "[merge]") {
  const auto lower = TarBuilder().file("a", "1", 0600).symlink("s", "a").end();
  TarBuilder upper;
  upper.add({.path = "b", .type = '1', .link = "/a", .mode = 0777, .uid = 9}).hard_link("t", "s").hard_link("a", "a");
  const auto last = TarBuilder().file("a", "2").end();
  const auto tree = tree_of({lower, upper.end(), last});
  CHECK(tree.at("/a").content == "2");
  CHECK(tree.at("/a").links == 1);
  CHECK(tree.at("/b").content == "1");
  CHECK(tree.at("/b").mode == 0600);
  CHECK(tree.at("/b").uid == 0);
  CHECK(tree.at("/t").type == 'l');
  CHECK(tree.at("/t").inode == tree.at("/s").inode);
  CHECK(tree.at("/s").links == 2);
}

TEST_CASE_METHOD(LayersFixture, "a hard link may replace the folder its target lies in", "[merge]") {
  const auto tree = tree_of({TarBuilder().folder("d").file("d/f", "1").hard_link("d", "d/f").end()});
  CHECK(tree.at("/d").content == "1");
  CHECK(tree.at("/d").links == 1);
}

TEST_CASE_METHOD(LayersFixture, "names are bytes and ids are 32 bits wide", "[merge]") {
  TarBuilder tar;
  const std::string odd = "caf\xe9 \xff\n'\"$";
  tar.file(odd, "1");
  const std::string long_path = std::string(200, 'p') + "/" + std::string(255, 'q');
  tar.file(long_path, "2");
  tar.add({.path = "pax\xff", .data = "3", .pax = {{"path", std::string(120, '\xfe')}}});
  tar.add({.path = "big", .uid = 4'294'967'294, .gid = 3'000'000'000});
  tar.add({.path = "x", .pax = {{"uid", "4294967294"}, {"gid", "70000"}}});
  tar.symlink("long-link", std::string(3000, 't'))
      .symlink("link59", std::string(59, 'a'))
      .symlink("link60", std::string(60, 'b'));
  const auto tree = tree_of({tar.end()});
  CHECK(tree.at("/" + odd).content == "1");
  CHECK(tree.at("/" + long_path).content == "2");
  CHECK(tree.at("/" + std::string(120, '\xfe')).content == "3");
  CHECK(tree.at("/big").uid == 4'294'967'294);
  CHECK(tree.at("/big").gid == 3'000'000'000);
  CHECK(tree.at("/x").uid == 4'294'967'294);
  CHECK(tree.at("/x").gid == 70'000);
  CHECK(tree.at("/long-link").content == std::string(3000, 't'));
  CHECK(tree.at("/link59").content == std::string(59, 'a'));
  CHECK(tree.at("/link60").content == std::string(60, 'b'));
  CHECK(error_of({TarBuilder().add({.path = "minus", .uid = -1}).end()}).subject == "minus");
  CHECK(error_of({TarBuilder().add({.path = "all", .uid = 4'294'967'295}).end()}).subject == "all");
}

TEST_CASE_METHOD(LayersFixture, "times keep their fraction, and the years ext4 can hold", "[merge]") {
  TarBuilder tar;
  tar.add({.path = "a", .pax = {{"mtime", "1700000000.123456789"}}});
  tar.add({.path = "b", .pax = {{"mtime", "-1.25"}}});
  tar.add({.path = "c", .mtime = -86'400});
  tar.add({.path = "d", .pax = {{"mtime", "9000000000"}}});
  tar.add({.path = "e", .pax = {{"mtime", "99999999999999"}}});
  tar.add({.path = "f", .pax = {{"mtime", "-9999999999.5"}}});
  const auto tree = tree_of({tar.end()});
  CHECK(tree.at("/a").mtime == 1'700'000'000);
  CHECK(tree.at("/a").mtime_nsec == 123'456'789);
  CHECK(tree.at("/b").mtime == -2);
  CHECK(tree.at("/b").mtime_nsec == 750'000'000);
  CHECK(tree.at("/c").mtime == -86'400);
  CHECK(tree.at("/d").mtime == 9'000'000'000);
  CHECK(tree.at("/e").mtime == 0x37FFFFFFF);
  CHECK(tree.at("/f").mtime == -(std::int64_t{1} << 31));
}

TEST_CASE_METHOD(LayersFixture, "extended attributes are kept byte by byte, but those of the host", "[merge]") {
  const std::string capability("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20);
  const std::map<std::string, std::string> many{
      {"user.a", std::string(1000, '\xff')}, {"user.bb", ""}, {"trusted.t", "t"}, {"security.capability", capability}};
  TarBuilder tar;
  tar.add({.path = "cap", .xattrs = {{"security.capability", capability}}});
  tar.add({.path = "many", .xattrs = many});
  tar.add({.path = "dir", .type = '5', .xattrs = {{"user.d", "d"}}});
  tar.add({.path = "link", .type = '2', .link = "cap", .xattrs = {{"trusted.l", "l"}}});
  tar.add({.path = "dropped",
           .xattrs = {{"security.selinux", "s"},
                      {"system.posix_acl_access", "x"},
                      {"trusted.overlay.opaque", "y"},
                      {"other", "z"},
                      {"user.kept", "k"}}});
  tar.add({.path = "libarchive", .pax = {{"LIBARCHIVE.xattr.user.%62", "AAEC/w=="}}});
  const auto tree = tree_of({tar.end()});
  CHECK(tree.at("/cap").xattrs.at("security.capability") == capability);
  CHECK(tree.at("/cap").blocks == 0);
  CHECK(tree.at("/many").xattrs == many);
  CHECK(tree.at("/dir").xattrs.at("user.d") == "d");
  CHECK(tree.at("/link").xattrs.at("trusted.l") == "l");
  CHECK(tree.at("/dropped").xattrs == std::map<std::string, std::string>{{"user.kept", "k"}});
  CHECK(tree.at("/libarchive").xattrs.at("user.b") == std::string("\x00\x01\x02\xff", 4));

  const auto error =
      error_of({TarBuilder().add({.path = "large", .xattrs = {{"user.l", std::string(4090, 'l')}}}).end()});
  CHECK(error.code == ErrorCode::layer_unsupported);
  CHECK(error.subject == "large");
}

TEST_CASE_METHOD(LayersFixture, "devices and FIFOs are made, a 0/0 device is no whiteout", "[merge]") {
  TarBuilder tar;
  tar.add({.path = "null", .type = '3', .mode = 0666, .major = 1, .minor = 3});
  tar.add({.path = "disk", .type = '4', .major = 259, .minor = 70'000});
  tar.add({.path = "zero", .type = '3', .major = 0, .minor = 0});
  tar.add({.path = "fifo", .type = '6'});
  const auto tree = tree_of({TarBuilder().file("zero", "1").end(), tar.end()});
  CHECK(tree.at("/null").type == 'c');
  CHECK(tree.at("/null").content == "1:3");
  CHECK(tree.at("/disk").type == 'b');
  CHECK(tree.at("/disk").content == "259:70000");
  CHECK(tree.at("/zero").type == 'c');
  CHECK(tree.at("/fifo").type == 'p');
}

TEST_CASE_METHOD(LayersFixture, "the root's own entry sets its metadata", "[merge]") {
  const auto tree = tree_of({TarBuilder().folder("./", 0711).end()});
  CHECK(tree.at("/").mode == 0711);
  CHECK(tree.at("/").mtime == 1'700'000'000);
}

TEST_CASE_METHOD(LayersFixture, "data that upper layers hide is not in the image file", "[merge]") {
  const std::string secret = "SECRET-" + std::string(1000, 's');
  TarBuilder lower;
  lower.file("key", secret).file("kept", "k");
  const auto built = build({lower.end(), TarBuilder().file(".wh.key").end()});
  REQUIRE(built);
  CHECK(e2fsck_complaints(built->image_path).empty());
  CHECK(std::system(("grep -q SECRET- '" + built->image_path.string() + "'").c_str()) != 0);
}
