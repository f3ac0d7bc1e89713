#include "tools/nanobox-inspect/pipeline_picture.hpp"

#include <algorithm>
#include <array>

#include "tools/nanobox/json.hpp"
#include "tools/nanobox/table.hpp"

namespace nanobox::inspection {
namespace {

using namespace cli;

struct Lines {
  std::string_view across, down, upper_left, upper_right, lower_left, lower_right, arrow;
};
constexpr Lines kDrawn = {"─", "│", "┌", "┐", "└", "┘", "─▶"};
constexpr Lines kTyped = {"-", "|", "+", "+", "+", "+", "->"};

std::string times(std::string_view what, std::size_t count) {
  std::string text;
  for (std::size_t at = 0; at < count; ++at) text += what;
  return text;
}

std::string deadline_text(std::int64_t milliseconds) {
  if (milliseconds <= 0) return "no deadline";
  if (milliseconds % 3'600'000 == 0) return "within " + std::to_string(milliseconds / 3'600'000) + " h";
  if (milliseconds % 60'000 == 0) return "within " + std::to_string(milliseconds / 60'000) + " min";
  if (milliseconds % 1000 == 0) return "within " + std::to_string(milliseconds / 1000) + " s";
  return "within " + std::to_string(milliseconds) + " ms";
}

std::string retries_text(std::int64_t retries) {
  return retries == 0 ? "" : retries == 1 ? "1 retry" : std::to_string(retries) + " retries";
}

/// How it is with the stage's outcome: "undone", "commits".
std::string outcome_text(const StageDefinition& stage) {
  std::string text = stage.commits ? "commits" : stage.undo.empty() ? "" : "can be undone";
  if (stage.overlaps_next) text += text.empty() ? "overlaps next" : ", overlaps next";
  return text;
}

constexpr std::size_t kBoxLines = 5;
std::array<std::string, kBoxLines> box_texts(const StageDefinition& stage) {
  return {printable(stage.name), printable(stage.actor), deadline_text(stage.deadline_ms), retries_text(stage.retries),
          outcome_text(stage)};
}

std::string dot_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  }
  return out + "\"";
}

/// Mermaid's texts are HTML with '#' before entities' names.
std::string mermaid_text(std::string_view text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '"':
        out += "#quot;";
        break;
      case '#':
        out += "#35;";
        break;
      case '<':
        out += "#lt;";
        break;
      case '>':
        out += "#gt;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  return out;
}

void draw_row(Style style, const PipelineDefinition& pipeline, std::size_t first, std::size_t count,
              const std::vector<std::size_t>& widths, std::string& out) {
  const auto& lines = style.unicode ? kDrawn : kTyped;
  const bool goes_on = first + count < pipeline.stages.size();
  for (std::size_t line = 0; line < kBoxLines + 2; ++line) {
    out += line == 2 && first > 0 ? std::string(lines.arrow) : "  ";
    for (std::size_t at = first; at < first + count; ++at) {
      const auto width = widths[at];
      if (line == 0)
        out += std::string(lines.upper_left) + times(lines.across, width + 2) + std::string(lines.upper_right);
      else if (line == kBoxLines + 1)
        out += std::string(lines.lower_left) + times(lines.across, width + 2) + std::string(lines.lower_right);
      else {
        const auto text = fitted(style, box_texts(pipeline.stages[at])[line - 1], width);
        out += std::string(lines.down) + " " +
               painted(style,
                       line == 1           ? ink::bold
                       : line == kBoxLines ? ink::yellow
                                           : ink::dim,
                       text) +
               " " + std::string(lines.down);
      }
      const bool has_next = at + 1 < first + count || goes_on;
      if (has_next) out += line == 2 ? std::string(lines.arrow) : at + 1 < first + count ? "  " : "";
    }
    out += "\n";
  }
}

void draw(Style style, const PipelineDefinition& pipeline, std::size_t columns, std::string& out) {
  std::vector<std::size_t> widths;
  for (const auto& stage : pipeline.stages) {
    std::size_t width = 0;
    for (const auto& text : box_texts(stage)) width = std::max(width, columns_of(text));
    widths.push_back(std::min(width, std::max<std::size_t>(columns, 30) - 8));
  }
  const auto& stages = pipeline.stages;
  out += painted(style, ink::bold, printable(pipeline.name)) + ": " + std::to_string(stages.size()) +
         (stages.size() == 1 ? " stage" : " stages");
  if (!stages.empty() && !stages.front().input.empty())
    out += ", from " + printable(stages.front().input) + " to " + printable(stages.back().output);
  out += "\n";
  for (std::size_t first = 0; first < stages.size();) {
    std::size_t count = 0, used = 2;
    while (first + count < stages.size() && (count == 0 || used + widths[first + count] + 6 <= columns))
      used += widths[first + count++] + 6;
    draw_row(style, pipeline, first, count, widths, out);
    first += count;
  }
  std::size_t name_width = 0;
  for (const auto& stage : stages) name_width = std::max(name_width, columns_of(stage.name));
  for (const auto& stage : stages) {
    if (stage.undo.empty()) continue;
    const auto line = "  undo " + fitted(style, stage.name, name_width) + "  " + printable(stage.undo);
    out += columns_of(line) > columns ? fitted(style, line, columns) : line;
    out += "\n";
  }
}

}  // namespace

PipelineDefinition read_pipeline(const rapidjson::Value& json) {
  PipelineDefinition pipeline{.name = json_text(json, "name"), .stages = {}};
  if (const auto* stages = json_member(json, "stages"); stages != nullptr && stages->IsArray())
    for (const auto& stage : stages->GetArray())
      pipeline.stages.push_back({.name = json_text(stage, "name"),
                                 .actor = json_text(stage, "actor"),
                                 .input = json_text(stage, "input"),
                                 .output = json_text(stage, "output"),
                                 .deadline_ms = json_number(stage, "deadline_ms"),
                                 .retries = json_number(stage, "retries"),
                                 .undo = json_text(stage, "undo"),
                                 .commits = json_flag(stage, "commits"),
                                 .overlaps_next = json_flag(stage, "overlaps_next")});
  return pipeline;
}

std::string terminal_picture(Style style, const std::vector<PipelineDefinition>& pipelines, std::size_t columns) {
  std::string out;
  for (const auto& pipeline : pipelines) {
    if (!out.empty()) out += "\n";
    draw(style, pipeline, columns, out);
  }
  return out;
}

std::string graphviz_picture(const std::vector<PipelineDefinition>& pipelines) {
  std::string out =
      "digraph nanobox {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n"
      "  edge [fontname=\"sans-serif\", fontsize=10];\n";
  for (const auto& pipeline : pipelines) {
    const auto id = [&](const StageDefinition& stage) { return dot_text(pipeline.name + "/" + stage.name); };
    out += "  subgraph " + dot_text("cluster_" + pipeline.name) + " {\n    label=" + dot_text(pipeline.name) + ";\n";
    for (const auto& stage : pipeline.stages) {
      std::string label = stage.name;
      for (const auto& text : {stage.actor, deadline_text(stage.deadline_ms), retries_text(stage.retries),
                               stage.undo.empty() ? std::string() : "undo: " + stage.undo})
        if (!text.empty()) label += "\n" + text;
      out += "    " + id(stage) + " [label=" + dot_text(label) + (stage.commits ? ", peripheries=2" : "") + "];\n";
    }
    for (std::size_t at = 1; at < pipeline.stages.size(); ++at)
      out += "    " + id(pipeline.stages[at - 1]) + " -> " + id(pipeline.stages[at]) +
             " [label=" + dot_text(pipeline.stages[at - 1].output) +
             (pipeline.stages[at - 1].overlaps_next ? ", style=dashed" : "") + "];\n";
    out += "  }\n";
  }
  return out + "}\n";
}

std::string mermaid_picture(const std::vector<PipelineDefinition>& pipelines) {
  std::string out = "flowchart LR\n";
  for (std::size_t number = 0; number < pipelines.size(); ++number) {
    const auto& pipeline = pipelines[number];
    const auto id = [&](std::size_t at) { return "p" + std::to_string(number) + "s" + std::to_string(at); };
    out += "  subgraph p" + std::to_string(number) + "[\"" + mermaid_text(pipeline.name) + "\"]\n";
    for (std::size_t at = 0; at < pipeline.stages.size(); ++at) {
      const auto& stage = pipeline.stages[at];
      auto label = "<b>" + mermaid_text(stage.name) + "</b>";
      for (const auto& text : {stage.actor, deadline_text(stage.deadline_ms), retries_text(stage.retries),
                               stage.undo.empty() ? std::string() : "undo: " + stage.undo})
        if (!text.empty()) label += "<br/>" + mermaid_text(text);
      out += "    " + id(at) + "[\"" + label + "\"]\n";
    }
    for (std::size_t at = 1; at < pipeline.stages.size(); ++at) {
      const auto& passed = pipeline.stages[at - 1];
      out += "    " + id(at - 1) + (passed.overlaps_next ? " -.->" : " -->") +
             (passed.output.empty() ? " " : "|\"" + mermaid_text(passed.output) + "\"| ") + id(at) + "\n";
    }
    out += "  end\n";
  }
  return out;
}

}  // namespace nanobox::inspection
