#include "actors/death_book.hpp"

#include <catch2/catch.hpp>

#include "actors/vm_remains.hpp"
#include "pipeline/store/control_store.hpp"
#include "tests/pipeline/store/store_folder.hpp"

using namespace nanobox;
using namespace std::chrono_literals;

namespace {

class BookFixture {
protected:
  BookFixture() : store(*ControlStore::open(folder / "control.db")) {}

  SandboxDeath death_of(const std::string& id, std::chrono::minutes ago = 0min) const {
    SandboxDeath death;
    death.id = id;
    death.owner = "ann";
    death.node_id = "n1";
    death.cause = DeathCause::vm_exit;
    death.ended_at = wall_now() - ago;
    return death;
  }
  void note(DeathBook& book, const SandboxDeath& death) {
    REQUIRE(store->commit({book.change_for(death)}));
    book.show(death);
  }
  std::size_t stored() const { return all_records(*store, "death")->size(); }

  test::StoreFolder folder;
  std::shared_ptr<RecordStore> store;
  Board<SandboxDeath> board;
};

}  // namespace

TEST_CASE_METHOD(BookFixture, "what was noted is there after a restart", "[death]") {
  DeathBook book(store, "death", board);
  note(book, death_of("sb-1"));

  Board<SandboxDeath> next;
  DeathBook again(store, "death", next);
  REQUIRE(again.load());

  REQUIRE(next.find("sb-1"));
  CHECK(*next.find("sb-1") == *board.find("sb-1"));
}

TEST_CASE_METHOD(BookFixture, "a record goes after an hour, from the store too", "[death]") {
  DeathBook book(store, "death", board);
  note(book, death_of("sb-1", 59min));
  note(book, death_of("sb-2"));

  REQUIRE(book.expire(wall_now()));
  CHECK(board.find("sb-1"));
  REQUIRE(book.expire(wall_now() + 2min));

  CHECK_FALSE(board.find("sb-1"));
  CHECK(board.find("sb-2"));
  CHECK(stored() == 1);
}

TEST_CASE_METHOD(BookFixture, "what is too old is not loaded, nor what is no record", "[death]") {
  {
    DeathBook book(store, "death", board);
    note(book, death_of("sb-1", 61min));
    REQUIRE(put_record(*store, "death", "sb-2", "ann", "{\"id\":1}"));
  }
  Board<SandboxDeath> next;
  DeathBook again(store, "death", next);
  REQUIRE(again.load());

  CHECK(next.all().empty());
  CHECK(stored() == 0);
}

TEST_CASE_METHOD(BookFixture, "the oldest go first where there are too many", "[death]") {
  DeathBook book(store, "death", board, {.records = 2, .console_bytes = kDeathConsolesMax});
  for (const char* id : {"sb-3", "sb-1", "sb-2"}) note(book, death_of(id));

  REQUIRE(book.expire(wall_now()));

  CHECK_FALSE(board.find("sb-3"));
  CHECK(board.all().size() == 2);
  CHECK(stored() == 2);
}

TEST_CASE_METHOD(BookFixture, "of many long consoles the newest are kept whole", "[death]") {
  DeathBook book(store, "death", board, {.records = 10, .console_bytes = 10'000});
  for (const char* id : {"sb-1", "sb-2", "sb-3"}) {
    auto death = death_of(id);
    death.console = std::string(3'990, 'x') + "\nlast line\n";
    note(book, death);
  }

  CHECK(board.find("sb-1")->console == "last line\n");
  CHECK(board.find("sb-2")->console.size() == 4'001);
  CHECK(board.find("sb-3")->console.size() == 4'001);
}

TEST_CASE_METHOD(BookFixture, "the first record of a sandbox counts, and is completed", "[death]") {
  DeathBook book(store, "death", board);
  note(book, death_of("sb-1"));

  auto deleted = death_of("sb-1");
  deleted.cause = DeathCause::asked;
  CHECK_FALSE(book.is_news(deleted));
  CHECK_FALSE(book.is_news(death_of("sb-1")));
  auto whole = death_of("sb-1");
  whole.usage = SandboxUsage{.wall_ms = 1, .cpu_ms = 1, .memory_peak_bytes = 1, .disk_bytes = 1};
  CHECK(book.is_news(whole));
  auto elsewhere = deleted;
  elsewhere.node_id = "n2";  // where it went to
  CHECK(book.is_news(elsewhere));
}

TEST_CASE("what a paused sandbox' VM left lies beside its saved state", "[death]") {
  const test::StoreFolder folder;
  const VmRemains remains{.cause = {},
                          .reason = {},
                          .console = "ready\n",
                          .spent = VmSpent{.cpu_us = 1'000, .memory_peak_bytes = 4096},
                          .disk_bytes = 512};

  REQUIRE(write_remains(folder.path(), remains));

  CHECK(read_remains(folder.path()) == remains);
  CHECK(read_remains(folder / "none") == VmRemains{});
  CHECK(write_remains(folder / "none", remains));
  CHECK(together({.cpu_us = 1, .memory_peak_bytes = 9}, {.cpu_us = 2, .memory_peak_bytes = 3}) ==
        VmSpent{.cpu_us = 3, .memory_peak_bytes = 9});
}
