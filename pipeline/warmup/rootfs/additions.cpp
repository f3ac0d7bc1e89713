#include "pipeline/warmup/rootfs/additions.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>

#include "pipeline/json_text.hpp"

namespace nanobox {

namespace {

bool is_identifier(std::string_view key) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return !key.empty() && letter(key.front()) &&
         std::all_of(key.begin(), key.end(), [&](char c) { return letter(c) || digit(c); });
}

std::string image_record(const ResolvedImage& image) {
  rapidjson::StringBuffer buffer;
  JsonWriter json(buffer);
  json.StartObject();
  put_text(json, "name", image.name);
  put_text(json, "digest", image.digest);
  put_strings(json, "env", image.config.env);
  put_strings(json, "entrypoint", image.config.entrypoint);
  put_strings(json, "cmd", image.config.cmd);
  put_text(json, "working_dir", image.config.working_dir);
  put_text(json, "user", image.config.user);
  json.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

class LayerMaker {
public:
  explicit LayerMaker(DataWriter& writer) : writer_(writer) {}

  void add_folder(EntryType type, std::string_view path, std::uint16_t mode) {
    index.entries.push_back({.path = index.arena.text(path), .mode = mode, .type = type});
  }
  Result<void> add_file(std::string_view path, std::uint16_t mode, std::span<const std::byte> bytes) {
    LayerEntry entry{.path = index.arena.text(path), .size_bytes = bytes.size(), .mode = mode, .type = EntryType::file};
    if (!bytes.empty()) {
      const FileRange whole{0, bytes.size()};
      const auto extents = writer_.place(std::span(&whole, 1));
      entry.extents = index.arena.list<Extent>(extents);
      NANOBOX_TRY(writer_.write(0, bytes));
      NANOBOX_TRY(writer_.flush());
    }
    index.entries.push_back(entry);
    return {};
  }

  LayerIndex index;

private:
  DataWriter& writer_;
};

struct MountPoint {
  std::string_view path;
  std::uint16_t mode;
};
constexpr std::array kMountPoints{MountPoint{"proc", 0555}, MountPoint{"sys", 0555}, MountPoint{"dev", 0755},
                                  MountPoint{"run", 0755}, MountPoint{"tmp", 01777}};

}  // namespace

std::string env_script(const std::vector<std::string>& env) {
  std::string script;
  for (const auto& pair : env) {
    const auto equals = pair.find('=');
    if (equals == std::string::npos || !is_identifier(std::string_view(pair).substr(0, equals))) continue;
    if (pair.find('\0') != std::string::npos) continue;
    script += "export " + pair.substr(0, equals) + "='";
    for (const char byte : std::string_view(pair).substr(equals + 1)) {
      if (byte == '\'')
        script += "'\\''";
      else
        script += byte;
    }
    script += "'\n";
  }
  return script;
}

Result<LayerIndex> additions_layer(const ResolvedImage& image, const RootfsAdditions& additions, DataWriter& writer) {
  LayerMaker layer(writer);
  for (const auto& point : kMountPoints) layer.add_folder(EntryType::missing_folder, point.path, point.mode);
  layer.add_folder(EntryType::folder, "lost+found", 0700);
  layer.add_folder(EntryType::missing_folder, "etc", 0755);
  layer.add_folder(EntryType::folder, "etc/nanobox", 0755);
  const auto as_bytes = [](const std::string& text) { return std::as_bytes(std::span(text)); };
  NANOBOX_TRY(layer.add_file("etc/nanobox/env.sh", 0644, as_bytes(env_script(image.config.env))));
  NANOBOX_TRY(layer.add_file("etc/nanobox/image.json", 0644, as_bytes(image_record(image))));
  layer.add_folder(EntryType::missing_folder, "sbin", 0755);
  NANOBOX_TRY(layer.add_file("sbin/nanobox-init", 0755, additions.init_binary));
  return std::move(layer.index);
}

}  // namespace nanobox
