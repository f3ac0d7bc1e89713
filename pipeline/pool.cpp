#include "pipeline/pool.hpp"

#include "pipeline/record_fields.hpp"

namespace nanobox {

std::string pool_to_record(const PoolState& pool) {
  return write_fields(pool);
}

std::optional<PoolState> pool_from_record(std::string_view json) {
  return read_fields<PoolState>(json);
}

}  // namespace nanobox
