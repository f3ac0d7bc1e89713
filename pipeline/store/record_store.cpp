#include "pipeline/store/record_store.hpp"

namespace nanobox {

Result<std::uint64_t> put_record(RecordStore& store, std::string_view kind, std::string_view key,
                                 std::string_view owner, std::string value) {
  return store.commit({RecordChange{.kind = std::string(kind),
                                    .key = std::string(key),
                                    .expect = std::nullopt,
                                    .owner = std::string(owner),
                                    .value = std::move(value),
                                    .lease = 0}});
}

Result<void> delete_record(RecordStore& store, std::string_view kind, std::string_view key) {
  NANOBOX_TRY(store.commit({RecordChange{.kind = std::string(kind),
                                         .key = std::string(key),
                                         .expect = std::nullopt,
                                         .owner = "",
                                         .value = std::nullopt,
                                         .lease = 0}}));
  return {};
}

Result<std::vector<Record>> all_records(const RecordStore& store, std::string_view kind) {
  std::vector<Record> records;
  RecordQuery query{.kind = std::string(kind), .key_prefix = "", .cursor = "", .limit = 1000};
  for (;;) {
    auto page = NANOBOX_TRY(store.list(query));
    for (auto& record : page.items) records.push_back(std::move(record));
    if (!page.next_cursor) return records;
    query.cursor = *page.next_cursor;
  }
}

}  // namespace nanobox
