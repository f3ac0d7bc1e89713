#pragma once

#include <cstddef>
#include <vector>

#include "actors/boards.hpp"

namespace nanobox {

/// What there are many of at a node, none of them with a supervisor.
struct ManyActors {
  std::size_t boot_runs = 0;
  std::size_t warmup_runs = 0;
};

/// How the supervised concerns of these boards fare, by name.
std::vector<ConcernReport> concern_reports(const Boards& boards);
/// The same of a node, with the kinds that there are many of: a run for each boot and warmup that runs now, a
/// vm_supervisor for each machine.
std::vector<ConcernReport> concern_reports(const Boards& boards, const ManyActors& many);

}  // namespace nanobox
