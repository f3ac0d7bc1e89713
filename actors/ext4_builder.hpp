#pragma once

#include "actors/concerns.hpp"
#include "actors/services.hpp"
#include "actors/stage_workers.hpp"

namespace nanobox {

struct Ext4BuilderState {
  static inline const char* name = "ext4_builder";
  SharedServices services;
  StageWorkers workers;
};

/// Merges indexed layers and finishes the root: folders, inodes, bitmaps.
Ext4BuilderActor::behavior_type ext4_builder(Ext4BuilderActor::stateful_pointer<Ext4BuilderState> self,
                                             SharedServices services);

}  // namespace nanobox
