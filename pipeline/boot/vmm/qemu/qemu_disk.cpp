#include "pipeline/boot/vmm/qemu/qemu_disk.hpp"

#include <fcntl.h>

#include "pipeline/json_text.hpp"

namespace nanobox {

namespace {

Result<UniqueFd> open_part(const std::filesystem::path& path, int flags) {
  UniqueFd file(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return fail(errno_error(errno, "open a part of the disk", path, ErrorCode::snapshot_invalid));
  return file;
}

struct Node {
  std::string name;
  const char* driver = "qcow2";
  bool read_only = true;
  unsigned fdset = 0;
  std::optional<std::string> below;  ///< nothing: JSON null, no backing
};

/// As short as can be, for QEMU reads its control socket byte by byte: the file below inherits cache, discard and
/// whether it is read-only. Nothing of a sandbox' disk needs to survive the host but what a pause syncs itself.
std::string node_json(const Node& node) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put_text(json, "driver", node.driver);
  put_text(json, "node-name", node.name);
  put(json, "cache");
  json.StartObject();
  put(json, "no-flush");
  json.Bool(true);
  json.EndObject();
  if (node.read_only) {
    put(json, "read-only");
    json.Bool(true);
  } else {
    put_text(json, "discard", "unmap");
  }
  put(json, "file");
  json.StartObject();
  put_text(json, "driver", "file");
  put_text(json, "filename", "/dev/fdset/" + std::to_string(node.fdset));
  put_text(json, "locking", "off");
  json.EndObject();
  if (std::string_view(node.driver) == "qcow2") {
    put(json, "backing");
    if (node.below)
      json.String(node.below->c_str());
    else
      json.Null();
  }
  json.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

void add_node(std::vector<QmpSession::Call>& calls, const Node& node, UniqueFd file) {
  calls.push_back({.command = "add-fd",
                   .arguments = R"({"fdset-id":)" + std::to_string(node.fdset) + "}",
                   .attached = std::move(file)});
  calls.push_back({.command = "blockdev-add", .arguments = node_json(node)});
}

std::string layer_node(std::size_t number) {
  return number == 0 ? "base" : "layer-" + std::to_string(number);
}

constexpr unsigned first_overlay_set = 1000;

}  // namespace

std::string overlay_node(unsigned number) {
  return "overlay-" + std::to_string(number);
}

void add_overlay(std::vector<QmpSession::Call>& calls, unsigned number, UniqueFd file,
                 const std::optional<std::string>& below) {
  add_node(calls,
           {.name = overlay_node(number), .read_only = false, .fdset = first_overlay_set + number, .below = below},
           std::move(file));
}

Result<void> add_base(std::vector<QmpSession::Call>& calls, const DiskBase& base, std::size_t there) {
  if (there == 0)
    add_node(calls, {.name = layer_node(0), .driver = "raw", .fdset = 1, .below = {}},
             NANOBOX_TRY(open_part(base.image, O_RDONLY)));
  for (std::size_t i = there == 0 ? 0 : there - 1; i < base.layers.size(); ++i)
    add_node(calls, {.name = layer_node(i + 1), .fdset = static_cast<unsigned>(i + 2), .below = layer_node(i)},
             NANOBOX_TRY(open_part(base.layers[i], O_RDONLY)));
  return {};
}

Result<void> plug_overlay(std::vector<QmpSession::Call>& calls, const std::filesystem::path& overlay,
                          std::size_t layers) {
  add_overlay(calls, 0, NANOBOX_TRY(open_part(overlay, O_RDWR)), layer_node(layers));
  calls.push_back({.command = "blockdev-reopen",
                   .arguments = R"({"options":[{"driver":"raw","node-name":"disk","file":")" + overlay_node(0) +
                                R"(","discard":"unmap"}]})"});
  return {};
}

}  // namespace nanobox
