#pragma once

#include "actors/wire/inspected.hpp"
#include "pipeline/insight/concern_report.hpp"
#include "pipeline/insight/sandbox_death.hpp"
#include "pipeline/insight/template_usage.hpp"
#include "pipeline/pool.hpp"
#include "pipeline/run.hpp"
#include "pipeline/sandbox.hpp"
#include "pipeline/template.hpp"

// Messages that travel as strict records (pipeline/json_record.hpp). Not the store's records, which leave out what no
// later daemon needs.

namespace nanobox {

struct Forked;
struct WarmupAnswer;

NANOBOX_WIRE_TYPE(Sandbox);
NANOBOX_WIRE_TYPE(SandboxNetwork);
NANOBOX_WIRE_TYPE(Template);
NANOBOX_WIRE_TYPE(RunRecord);
NANOBOX_WIRE_TYPE(PoolState);
NANOBOX_WIRE_TYPE(SandboxDeath);
NANOBOX_WIRE_TYPE(ConcernReport);
NANOBOX_WIRE_TYPE(TemplateUsage);
NANOBOX_WIRE_TYPE(StageProgress);
NANOBOX_WIRE_TYPE(ImageRequest);   // its credentials too: mutual TLS only
NANOBOX_WIRE_TYPE(WarmupRequest);  // as well
NANOBOX_WIRE_TYPE(WarmupAnswer);
NANOBOX_WIRE_TYPE(Forked);

}  // namespace nanobox
