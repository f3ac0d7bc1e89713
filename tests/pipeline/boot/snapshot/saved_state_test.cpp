#include "pipeline/boot/snapshot/saved_state.hpp"

#include "saved_folder.hpp"

using namespace nanobox;
using Catch::Matchers::Contains;
using nanobox::test::SavedFolder;
using nanobox::test::write_file;

namespace {

void check_invalid(const Result<void>& result, const std::filesystem::path& subject) {
  REQUIRE_FALSE(result);
  CHECK(result.error().code == ErrorCode::snapshot_invalid);
  CHECK(result.error().subject == subject);
  CHECK_FALSE(result.error().mend.empty());
}

Result<void> read_only(const std::filesystem::path& folder) {
  if (auto saved = read_saved_state(folder); !saved) return fail(saved.error());
  return {};
}

}  // namespace

TEST_CASE_METHOD(SavedFolder, "a manifest says again what it was told", "[snapshot]") {
  const auto written = fill(root / "a");
  const auto read = read_saved_state(root / "a");
  REQUIRE(read);
  CHECK(read->folder == root / "a");
  CHECK(read->fingerprint == written.fingerprint);
  CHECK(read->tsc_khz == written.tsc_khz);
  CHECK(read->vcpu == written.vcpu);
  CHECK(read->memory_mb == written.memory_mb);
  CHECK(read->disk_bytes == written.disk_bytes);
  CHECK(read->taken_at == written.taken_at);
  CHECK(verify_saved_state(*read));
}

TEST_CASE_METHOD(SavedFolder, "a saved state that was moved is whole", "[snapshot]") {
  fill(root / "a");
  std::filesystem::rename(root / "a", root / "b");
  const auto read = read_saved_state(root / "b");
  REQUIRE(read);
  CHECK(read->state() == root / "b/state");
  CHECK(verify_saved_state(*read));
}

TEST_CASE_METHOD(SavedFolder, "a part that is missing or of another size is seen when it is read", "[snapshot]") {
  const auto part = GENERATE("state", "mem", "disk.qcow2");
  fill(root);
  SECTION("missing") {
    std::filesystem::remove(root / part);
    check_invalid(read_only(root), root / part);
  }
  SECTION("shorter") {
    std::filesystem::resize_file(root / part, 1);
    check_invalid(read_only(root), root / part);
  }
  SECTION("longer") {
    std::filesystem::resize_file(root / part, 9000);
    check_invalid(read_only(root), root / part);
  }
}

TEST_CASE_METHOD(SavedFolder, "one bit of a part is seen when it is verified", "[snapshot]") {
  const auto part = GENERATE("state", "mem", "disk.qcow2");
  fill(root);
  std::fstream file(root / part, std::ios::binary | std::ios::in | std::ios::out);
  const auto byte = static_cast<char>(file.get() ^ 1);
  file.seekp(0);
  file.put(byte);
  file.close();
  const auto read = read_saved_state(root);
  REQUIRE(read);
  check_invalid(verify_saved_state(*read), root / part);
}

TEST_CASE_METHOD(SavedFolder, "what is no manifest is none", "[snapshot]") {
  fill(root);
  const auto manifest = root / "manifest.json";
  SECTION("missing") {
    std::filesystem::remove(manifest);
    check_invalid(read_only(root), root);
  }
  SECTION("not JSON, or of another shape") {
    for (const auto* text :
         {"", "{", "[]", "null", R"({"parts":[]})", R"({"parts":{"state":7}})",
          R"({"vcpu":1,"memory_mb":128,"parts":{}})", R"({"vcpu":0,"memory_mb":128,"parts":{"state":{"size":12}}})"}) {
      CAPTURE(text);
      write_file(manifest, text);
      const auto read = read_only(root);
      REQUIRE_FALSE(read);
      CHECK(read.error().code == ErrorCode::snapshot_invalid);
    }
  }
}

TEST_CASE("a state fits its driver, and a clock that was measured a little differently", "[snapshot]") {
  const SavedState saved{.folder = "/s", .fingerprint = "one", .tsc_khz = 2'000'000};
  CHECK(check_fits(saved, "one", 2'000'000));
  CHECK(check_fits(saved, "one", 2'004'000));
  CHECK(check_fits(saved, "one", 1'996'000));
  for (const std::uint64_t khz : {2'004'001U, 1'995'999U, 0U, 3'000'000U})
    check_invalid(check_fits(saved, "one", khz), "/s");
  check_invalid(check_fits(saved, "two", 2'000'000), "/s");
}
