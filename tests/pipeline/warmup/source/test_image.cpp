#include "test_image.hpp"

#include <archive.h>
#include <archive_entry.h>

#include <fstream>
#include <memory>
#include <random>
#include <sstream>
#include <stdexcept>

#include "config/sha256.hpp"

namespace nanobox {

namespace {

std::string hex_of(const std::string& digest) {
  return digest.substr(7);
}

std::string descriptor(const std::string& type, const std::string& digest, std::size_t size) {
  return R"({"mediaType":")" + type + R"(","digest":")" + digest + R"(","size":)" + std::to_string(size);
}

std::string joined(const std::vector<std::string>& items) {
  std::string out;
  for (const auto& item : items) out += (out.empty() ? "" : ",") + item;
  return out;
}

struct FreeArchive {
  void operator()(archive* writer) const { archive_write_free(writer); }
};

void add_member(archive* writer, const std::string& name, const std::string& bytes, const std::string& link = {}) {
  const std::unique_ptr<archive_entry, decltype(&archive_entry_free)> entry(archive_entry_new(), &archive_entry_free);
  archive_entry_set_pathname(entry.get(), name.c_str());
  archive_entry_set_perm(entry.get(), 0644);
  if (link.empty()) {
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(bytes.size()));
  } else {
    archive_entry_set_filetype(entry.get(), AE_IFLNK);
    archive_entry_set_symlink(entry.get(), link.c_str());
  }
  if (archive_write_header(writer, entry.get()) != ARCHIVE_OK) throw std::runtime_error(archive_error_string(writer));
  if (link.empty()) archive_write_data(writer, bytes.data(), bytes.size());
}

}  // namespace

std::vector<std::string> TestImage::layer_digests() const {
  std::vector<std::string> out;
  for (const auto& layer : layers) out.push_back(digest_of(layer));
  return out;
}

std::string TestImage::config_digest() const {
  return digest_of(config);
}

const std::string* TestImage::blob(const std::string& wanted) const {
  if (wanted == config_digest()) return &config;
  for (const auto& layer : layers)
    if (digest_of(layer) == wanted) return &layer;
  return nullptr;
}

TestImage make_image(std::vector<std::string> layers, const Platform& platform, const std::string& layer_type) {
  TestImage image;
  image.layers = std::move(layers);
  std::vector<std::string> diff_ids, descriptors;
  for (const auto& layer : image.layers) {
    image.layer_types.push_back(layer_type);
    diff_ids.push_back('"' + digest_of(layer) + '"');
    descriptors.push_back(descriptor(layer_type, digest_of(layer), layer.size()) + "}");
  }
  image.config =
      R"({"architecture":")" + platform.architecture + R"(","os":")" + platform.os + R"(","variant":")" +
      platform.variant +
      R"(","config":{"Env":["PATH=/bin","A=b"],"Entrypoint":["/bin/sh"],"Cmd":null,"WorkingDir":"/srv","User":"web"},)"
      R"("rootfs":{"type":"layers","diff_ids":[)" +
      joined(diff_ids) + "]}}";
  image.manifest =
      R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":)" +
      descriptor("application/vnd.oci.image.config.v1+json", digest_of(image.config), image.config.size()) +
      R"(},"layers":[)" + joined(descriptors) + "]}";
  image.digest = digest_of(image.manifest);
  return image;
}

std::string noise(std::size_t size, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::string out(size, '\0');
  for (auto& c : out) c = static_cast<char>(random());
  return out;
}

std::string gzip(const std::string& bytes) {
  const std::unique_ptr<archive, FreeArchive> writer(archive_write_new());
  std::string out(bytes.size() + bytes.size() / 2 + 4096, '\0');
  std::size_t used = 0;
  archive_write_set_format_raw(writer.get());
  archive_write_add_filter_gzip(writer.get());
  archive_write_open_memory(writer.get(), out.data(), out.size(), &used);
  add_member(writer.get(), "data", bytes);
  archive_write_close(writer.get());
  out.resize(used);
  return out;
}

std::string make_index(const std::vector<IndexedPlatform>& images) {
  std::vector<std::string> entries;
  for (const auto& [image, platform] : images)
    entries.push_back(descriptor("application/vnd.oci.image.manifest.v1+json", image->digest, image->manifest.size()) +
                      R"(,"platform":{"os":")" + platform.os + R"(","architecture":")" + platform.architecture +
                      (platform.variant.empty() ? "" : R"(","variant":")" + platform.variant) + R"("}})");
  return R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[)" + joined(entries) +
         "]}";
}

void write_layout(const std::filesystem::path& folder, const std::vector<TaggedImage>& images) {
  const auto blobs = folder / "blobs" / "sha256";
  std::filesystem::create_directories(blobs);
  write_file(folder / "oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
  std::vector<std::string> entries;
  for (const auto& [image, tag] : images) {
    for (const auto& layer : image->layers) write_file(blobs / hex_of(digest_of(layer)), layer);
    write_file(blobs / hex_of(image->config_digest()), image->config);
    write_file(blobs / hex_of(image->digest), image->manifest);
    entries.push_back(descriptor("application/vnd.oci.image.manifest.v1+json", image->digest, image->manifest.size()) +
                      (tag.empty() ? "" : R"(,"annotations":{"org.opencontainers.image.ref.name":")" + tag + R"("})") +
                      "}");
  }
  write_file(folder / "index.json", R"({"schemaVersion":2,"manifests":[)" + joined(entries) + "]}");
}

void write_docker_archive(const std::filesystem::path& file, const std::vector<TaggedImage>& images, bool compressed,
                          bool link_second) {
  const std::unique_ptr<archive, FreeArchive> writer(archive_write_new());
  archive_write_set_format_pax_restricted(writer.get());
  if (compressed) archive_write_add_filter_gzip(writer.get());
  archive_write_open_filename(writer.get(), file.c_str());
  std::vector<std::string> saved;
  for (const auto& [image, tag] : images) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < image->layers.size(); ++i) {
      const auto name = hex_of(image->config_digest()).substr(0, 12) + std::to_string(i) + "/layer.tar";
      if (link_second && i == 1) {
        add_member(writer.get(), name, "", "../" + names.front().substr(1, names.front().size() - 2));
      } else {
        add_member(writer.get(), name, image->layers[i]);
      }
      names.push_back('"' + name + '"');
    }
    const auto config_name = hex_of(image->config_digest()) + ".json";
    add_member(writer.get(), config_name, image->config);
    saved.push_back(R"({"Config":")" + config_name + R"(","RepoTags":[)" + (tag.empty() ? "" : R"("app:)" + tag + '"') +
                    R"(],"Layers":[)" + joined(names) + "]}");
  }
  add_member(writer.get(), "manifest.json", "[" + joined(saved) + "]");
  if (archive_write_close(writer.get()) != ARCHIVE_OK) throw std::runtime_error("archive");
}

void write_file(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary);
  out << bytes;
  if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
}

std::string read_whole(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace nanobox
