#include "pipeline/boot/vmm/qemu/qemu_arguments.hpp"

#include <algorithm>

#include "pipeline/boot/network/names.hpp"
#include "pipeline/boot/vmm/qemu/qemu_disk.hpp"
#include "pipeline/json_text.hpp"

namespace nanobox {

namespace {

// Options that hold paths are given as JSON, where a comma in a path means nothing.
class JsonOption {
public:
  JsonOption() { json_.StartObject(); }
  JsonOption& text(std::string_view key, std::string_view value) {
    put_text(json_, key, value);
    return *this;
  }
  JsonOption& number(std::string_view key, std::uint64_t value) {
    put(json_, key);
    json_.Uint64(value);
    return *this;
  }
  JsonOption& flag(std::string_view key, bool value) {
    put(json_, key);
    json_.Bool(value);
    return *this;
  }
  /// Nothing survives a sandbox, so flushes are not worth their time; the page cache is shared by all.
  JsonOption& unsafe_cache() {
    put(json_, "cache");
    json_.StartObject();
    put(json_, "direct");
    json_.Bool(false);
    put(json_, "no-flush");
    json_.Bool(true);
    json_.EndObject();
    return *this;
  }
  std::string str() {
    json_.EndObject();
    return {buffer_.GetString(), buffer_.GetSize()};
  }

private:
  rapidjson::StringBuffer buffer_;
  JsonWriter json_{buffer_};
};

/// Kernels and libraries copy by `rep movsb` where a CPU says that it is fast: emulated, byte by byte, it takes ten
/// times as long as a loop of words.
constexpr const char* emulated_cpu = "max,-erms,-fsrm";

std::string socket_option(const char* id, int descriptor) {
  return std::string("socket,id=") + id + ",fd=" + std::to_string(descriptor) + ",server=on,wait=off";
}

bool is_plain(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
  });
}

/// What a cold VMM and one that takes a state have in common: a state fits only the machine it was saved from.
std::vector<std::string> machine_arguments(std::uint32_t vcpu, std::uint32_t memory_mb, VmmKind kind,
                                           const std::string& uuid, const QemuNames& names,
                                           const QemuDescriptors& descriptors) {
  const bool kvm = kind == VmmKind::qemu_kvm;
  return {names.vmm / "ld.so", "--library-path", names.vmm / "lib", "--preload", names.vmm / "private_memory.so",
          // From here on QEMU's own.
          names.vmm / "vmm", "-L", names.vmm / "firmware", "-uuid", uuid,
          // The machine. With acpi=off QEMU announces the virtio-mmio devices on the kernel's command line itself;
          // rtc=off costs the kernel a second of waiting.
          "-M", "microvm,acpi=off,rtc=on,pcie=off,usb=off,x-option-roms=off,memory-backend=ram,mem-merge=off", "-accel",
          kvm ? "kvm" : "tcg,thread=multi,tb-size=" + std::to_string(tcg_buffer_mb), "-cpu",
          kvm ? "host" : emulated_cpu, "-smp", std::to_string(vcpu), "-m", std::to_string(memory_mb), "-nodefaults",
          "-no-user-config", "-no-reboot", "-display", "none", "-sandbox",
          "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", "-object",
          R"({"qom-type":"main-loop","id":"main-loop","thread-pool-max":8})",
          // Shared, as QEMU believes; the preload makes it private.
          "-object",
          JsonOption()
              .text("qom-type", "memory-backend-file")
              .text("id", "ram")
              .number("size", std::uint64_t{memory_mb} << 20)
              .text("mem-path", names.memory.string())
              .flag("share", true)
              .str(),
          // Control, console, channel.
          "-chardev", socket_option("qmp", descriptors.qmp), "-mon", "chardev=qmp,mode=control", "-chardev",
          socket_option("con", descriptors.console), "-serial", "chardev:con", "-chardev",
          socket_option("ch", descriptors.channel), "-device", "virtio-serial-device", "-device",
          "virtserialport,chardev=ch,name=nanobox.channel", "-object", "rng-builtin,id=rng", "-device",
          "virtio-rng-device,rng=rng"};
}

/// The disk. Every layer names its driver and what is below it: a header the guest wrote is never looked at.
std::vector<std::string> disk_arguments(const VmSpec& spec, const QemuNames& names) {
  std::vector<std::string> nodes;
  const auto add_file = [&](const std::string& node, const std::filesystem::path& file, bool read_only) {
    JsonOption option;
    option.text("driver", "file").text("node-name", node).text("filename", file.string()).unsafe_cache();
    nodes.push_back((read_only ? option.flag("read-only", true) : option.text("discard", "unmap")).str());
  };
  add_file("base-file", names.base, true);
  nodes.push_back(JsonOption()
                      .text("driver", "raw")
                      .text("node-name", "base")
                      .text("file", "base-file")
                      .flag("read-only", true)
                      .unsafe_cache()
                      .str());
  std::string below = "base";
  for (std::size_t i = 0; i < spec.disk_layers.size(); ++i) {
    const auto node = "layer-" + std::to_string(i + 1);
    add_file(node + "-file", names.layer(i, spec.disk_layers[i]), true);
    nodes.push_back(JsonOption()
                        .text("driver", "qcow2")
                        .text("node-name", node)
                        .text("file", node + "-file")
                        .text("backing", below)
                        .flag("read-only", true)
                        .unsafe_cache()
                        .str());
    below = node;
  }
  add_file("disk-file", names.disk, false);
  nodes.push_back(JsonOption()
                      .text("driver", "qcow2")
                      .text("node-name", overlay_node(0))
                      .text("file", "disk-file")
                      .text("backing", below)
                      .text("discard", "unmap")
                      .unsafe_cache()
                      .str());
  nodes.push_back(JsonOption()
                      .text("driver", "raw")
                      .text("node-name", "disk")
                      .text("file", overlay_node(0))
                      .text("discard", "unmap")
                      .unsafe_cache()
                      .str());
  return nodes;
}

/// Where the disk will be: a device needs one from the start.
std::vector<std::string> empty_disk_arguments() {
  return {R"({"driver":"null-co","node-name":"empty","size":1048576,"read-zeroes":true})",
          JsonOption()
              .text("driver", "raw")
              .text("node-name", "disk")
              .text("file", "empty")
              .text("discard", "unmap")
              .unsafe_cache()
              .str()};
}

void append_disk(std::vector<std::string>& argv, const std::vector<std::string>& nodes) {
  for (const auto& node : nodes) argv.insert(argv.end(), {"-blockdev", node});
  argv.insert(argv.end(), {"-device", "virtio-blk-device,drive=disk"});
}

/// Last, so that the devices before it stay where they are. A guest that wakes up elsewhere has nobody to announce
/// itself to, and would be at it when its sandbox is waited for.
void append_interface(std::vector<std::string>& argv, const std::optional<VmInterface>& interface,
                      const QemuDescriptors& descriptors) {
  if (!interface) return;
  argv.insert(argv.end(), {"-netdev", "tap,id=net0,fd=" + std::to_string(descriptors.tap), "-device",
                           "virtio-net-device,netdev=net0,guest_announce=off,mac=" + std::string(vm_side::guest_mac)});
}

void append_name(std::vector<std::string>& argv, const std::string& id) {
  if (is_plain(id)) argv.insert(argv.end(), {"-name", "guest=" + id});  // seen in ps
}

}  // namespace

std::filesystem::path QemuNames::layer(std::size_t number, const std::filesystem::path& source) const {
  return own_root ? std::filesystem::path("/layer-" + std::to_string(number + 1)) : source;
}

std::vector<std::string> qemu_arguments(const VmSpec& spec, VmmKind kind, const std::string& uuid,
                                        const std::string& kernel_line, const QemuNames& names,
                                        const QemuDescriptors& descriptors) {
  auto argv = machine_arguments(spec.vcpu, spec.memory_mb, kind, uuid, names, descriptors);
  argv.insert(argv.end(), {"-kernel", names.kernel, "-append", kernel_line});
  append_disk(argv, disk_arguments(spec, names));
  append_interface(argv, spec.interface, descriptors);
  append_name(argv, spec.sandbox_id);
  return argv;
}

std::vector<std::string> empty_qemu_arguments(const EmptyVmmSpec& spec, VmmKind kind, const std::string& uuid,
                                              const QemuNames& names, const QemuDescriptors& descriptors) {
  auto argv = machine_arguments(spec.vcpu, spec.memory_mb, kind, uuid, names, descriptors);
  append_disk(argv, empty_disk_arguments());
  append_interface(argv, spec.interface, descriptors);
  argv.insert(argv.end(), {"-incoming", "defer"});
  append_name(argv, spec.id);
  return argv;
}

std::vector<std::string> qemu_environment(const QemuNames& names) {
  // One heap, not one for each thread.
  return {"MALLOC_ARENA_MAX=1", "NANOBOX_PRIVATE_MEMORY=" + names.memory.string(),
          "QEMU_MODULE_DIR=" + (names.vmm / "modules").string()};
}

}  // namespace nanobox
