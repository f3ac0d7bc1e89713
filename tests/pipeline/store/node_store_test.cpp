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

TEST_CASE_METHOD(OpenStore, "a sandbox takes over all that a prepared VM held", "[node]") {
  REQUIRE(store->put_vm("pl", R"({"pid":1})"));
  REQUIRE(store->put_vm("other", R"({"pid":2})"));
  REQUIRE(store->lease("uid", 1, 9, "pl"));
  REQUIRE(store->lease("uid", 1, 9, "other"));
  REQUIRE(store->lease("address", 1, 9, "pl"));
  REQUIRE(store->take_over("pl", "sb", R"({"pid":1,"name":"sb"})"));
  reopen();
  CHECK(store->vms().value() == std::vector<VmRow>{{"other", R"({"pid":2})"}, {"sb", R"({"pid":1,"name":"sb"})"}});
  CHECK(store->leases("uid").value() == std::vector<HeldLease>{{"uid", 1, "sb"}, {"uid", 2, "other"}});
  CHECK(store->leases("address").value() == std::vector<HeldLease>{{"address", 1, "sb"}});
  REQUIRE(store->forget("pl"));
  CHECK(store->vm("sb").value());
  REQUIRE(store->forget("sb"));
  CHECK(store->leases("address").value().empty());
}

TEST_CASE_METHOD(OpenStore, "one that has its own row and leases keeps them when it takes over", "[node]") {
  REQUIRE(store->put_vm("sb", R"({"pid":7})"));
  REQUIRE(store->lease("address", 1, 9, "sb"));
  REQUIRE(store->put_vm("st", R"({"pid":1})"));
  REQUIRE(store->lease("uid", 1, 9, "st"));
  REQUIRE(store->take_over("st", "sb", R"({"pid":1})"));
  CHECK(store->vms().value() == std::vector<VmRow>{{"sb", R"({"pid":1})"}});
  CHECK(store->leases("address").value() == std::vector<HeldLease>{{"address", 1, "sb"}});
  CHECK(store->leases("uid").value() == std::vector<HeldLease>{{"uid", 1, "sb"}});
}
