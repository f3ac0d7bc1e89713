#include "http/resources/time_parameter.hpp"
#include "resources_fixture.hpp"

namespace nanobox::test {

namespace {

class Runs : public Resources {
protected:
  Runs() {
    add("run-1", "admin", "web", "here", "2026-11-24T10:00:00.000Z");
    add("run-2", "admin", "sb-1", "here", "2026-11-24T11:00:00.000Z");
    add("run-3", "admin", "sb-1", "there", "2026-11-24T12:00:00.000Z");
    add("run-4", "ann", "sb-2", "there", "2026-11-24T13:00:00.000Z");
  }
  /// The last digits of the runs' ids, in the order in which they are listed.
  std::string listed(const std::string& query, const std::string& key = "aaaa") {
    const auto runs = get("/pipelines/runs" + query, key);
    REQUIRE(runs.status == 200);
    std::string digits;
    for (std::size_t i = 0; i < runs.size_of("/items"); ++i)
      digits += runs.at("/items/" + std::to_string(i) + "/id").back();
    return digits;
  }

private:
  void add(const std::string& id, const std::string& owner, const std::string& subject, const std::string& node_id,
           const char* created_at) {
    RunRecord run;
    run.id = id;
    run.pipeline = "boot";
    run.owner = owner;
    run.subject = subject;
    run.node_id = node_id;
    run.created_at = *from_rfc3339(created_at);
    boards->runs.publish(id, run);
  }
};

}  // namespace

TEST_CASE_METHOD(Runs, "runs are found by what they are about, where they ran and when they began",
                 "[http][resources]") {
  CHECK(listed("") == "123");
  CHECK(listed("?subject=sb-1") == "23");
  CHECK(listed("?node_id=here") == "12");
  CHECK(listed("?since=2026-11-24T11:00:00Z") == "23");
  CHECK(listed("?since=2026-11-24T12:30:00%2B01:00") == "3");
  CHECK(listed("?subject=sb-1&node_id=here&kind=boot&status=queued") == "2");
}

TEST_CASE_METHOD(Runs, "runs are listed newest first where that is asked for, page by page", "[http][resources]") {
  CHECK(listed("?order=desc") == "321");
  CHECK(listed("?order=asc") == "123");
  const auto page = get("/pipelines/runs?order=desc&limit=2");
  CHECK(page.at("/items/1/id") == "run-2");
  CHECK(listed("?order=desc&cursor=" + page.at("/next_cursor")) == "1");
}

TEST_CASE_METHOD(Runs, "all owners' runs are the admin's to see", "[http][resources]") {
  CHECK(listed("?all=1") == "1234");
  CHECK(listed("?all=0") == "123");
  CHECK(listed("", "bbbb") == "4");
  CHECK(get("/pipelines/runs?all=1", "bbbb").code() == "forbidden");
  CHECK(get("/pipelines/runs/run-4").code() == "run_not_found");
  CHECK(get("/pipelines/runs/run-4?all=1").at("/id") == "run-4");
}

TEST_CASE_METHOD(Runs, "filters that say nothing sensible are refused by name", "[http][resources]") {
  for (const char* query : {"?since=yesterday", "?order=up", "?all=2"})
    CHECK(get("/pipelines/runs" + std::string(query)).code() == "invalid_value");
  CHECK(get("/pipelines/runs?node=here").code() == "unknown_field");
}

TEST_CASE("times are read as RFC 3339 has them", "[http][resources]") {
  const auto noon = from_rfc3339("2026-11-24T12:00:00.000Z");
  for (const char* text : {"2026-11-24T12:00:00Z", "2026-11-24t12:00:00z", "2026-11-24T12:00:00.0001Z",
                           "2026-11-24T14:30:00+02:30", "2026-11-24T07:00:00.0-05:00"})
    CHECK(http::parse_time(text) == noon);
  CHECK(http::parse_time("2026-11-24T12:00:00.12Z") == *noon + std::chrono::milliseconds(120));
  for (const char* text :
       {"", "2026-11-24", "2026-13-24T12:00:00Z", "2026-02-30T12:00:00Z", "2026-11-24T24:00:00Z", "2026-11-24T12:00:00",
        "2026-11-24T12:00:00.Z", "2026-11-24T12:00:00+2:00", "2026-11-24T12:00:00Zulu", "-026-11-24T12:00:00Z"})
    CHECK_FALSE(http::parse_time(text));
}

}  // namespace nanobox::test
