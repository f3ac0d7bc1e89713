#pragma once

#include <rapidjson/document.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tools/nanobox-inspect/style.hpp"

namespace nanobox::inspection {

/// A pipeline's definition, as GET /pipelines shows it.
struct StageDefinition {
  std::string name;
  std::string actor;
  std::string input;
  std::string output;
  std::int64_t deadline_ms = 0;
  std::int64_t retries = 0;
  std::string undo;
  bool commits = false;        ///< once it succeeded, nothing before it is undone
  bool overlaps_next = false;  ///< it ends together with the next one
};
struct PipelineDefinition {
  std::string name;
  std::vector<StageDefinition> stages;
};
PipelineDefinition read_pipeline(const rapidjson::Value& json);

/// Boxes and arrows in rows that fit the terminal; what is undone and how below.
std::string terminal_picture(Style style, const std::vector<PipelineDefinition>& pipelines, std::size_t columns);
/// For `dot -Tsvg`.
std::string graphviz_picture(const std::vector<PipelineDefinition>& pipelines);
/// For Markdown that draws Mermaid.
std::string mermaid_picture(const std::vector<PipelineDefinition>& pipelines);

}  // namespace nanobox::inspection
