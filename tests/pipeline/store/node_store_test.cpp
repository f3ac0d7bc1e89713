#include <catch2/catch.hpp>

#include "pipeline/store/node_store.hpp"
#include "store_folder.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

struct OpenStore {
  test::StoreFolder folder;
  std::shared_ptr<NodeStore> store = NodeStore::open(folder / "node.db").value();
  void reopen() {
    store.reset();
    store = NodeStore::open(folder / "node.db").value();
  }
};

}  // namespace

TEST_CASE_METHOD(OpenStore, "VMs and deadlines are there after a restart", "[node]") {
  REQUIRE(store->put_vm("sb-2", R"({"pid":2})"));
  REQUIRE(store->put_vm("sb-1", R"({"pid":1})"));
  REQUIRE(store->put_vm("sb-1", R"({"pid":3})"));
  const WallTime deadline{1'700'000'000'123ms};
  REQUIRE(store->put_deadline("sb-1", deadline));
  reopen();
  CHECK(store->vms().value() == std::vector<VmRow>{{"sb-1", R"({"pid":3})"}, {"sb-2", R"({"pid":2})"}});
  CHECK(store->vm("sb-2").value()->identity == R"({"pid":2})");
  CHECK_FALSE(store->vm("sb-3").value());
  CHECK(store->deadlines().value() == std::map<std::string, WallTime>{{"sb-1", deadline}});
}

TEST_CASE_METHOD(OpenStore, "the lowest free number is leased, and none twice", "[node]") {
  CHECK(store->lease("uid", 100, 102, "a").value() == 100);
  CHECK(store->lease("uid", 100, 102, "b").value() == 101);
  CHECK(store->lease("uid", 100, 102, "c").value() == 102);
  const auto none = store->lease("uid", 100, 102, "d");
  REQUIRE_FALSE(none);
  CHECK(none.error().code == ErrorCode::no_capacity);
  REQUIRE(store->release("uid", 101));
  reopen();
  CHECK(store->lease("uid", 100, 102, "d").value() == 101);
  CHECK(store->lease("address", 100, 102, "d").value() == 100);
  CHECK(store->leases("uid").value().size() == 3);
}

TEST_CASE_METHOD(OpenStore, "forgetting a sandbox frees all it held and nothing else", "[node]") {
  for (const char* id : {"a", "b"}) {
    REQUIRE(store->put_vm(id, "{}"));
    REQUIRE(store->put_deadline(id, WallTime{1ms}));
    REQUIRE(store->lease("uid", 1, 9, id));
  }
  REQUIRE(store->forget("a"));
  REQUIRE(store->forget("a"));
  CHECK(store->vms().value().size() == 1);
  CHECK(store->deadlines().value().count("b") == 1);
  CHECK(store->leases("uid").value() == std::vector<HeldLease>{{"uid", 2, "b"}});
}
