#include "pipeline/boot/vmm/qemu/qemu_arguments.hpp"

#include <algorithm>

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

}  // namespace

std::vector<std::string> qemu_arguments(const VmSpec& spec, VmmKind kind, const std::string& uuid,
                                        const std::string& kernel_line, const QemuNames& names,
                                        const QemuDescriptors& descriptors) {
  const bool kvm = kind == VmmKind::qemu_kvm;
  std::vector<std::string> argv{
      names.vmm / "ld.so", "--library-path", names.vmm / "lib", "--preload", names.vmm / "private_memory.so",
      // From here on QEMU's own.
      names.vmm / "vmm", "-L", names.vmm / "firmware", "-uuid", uuid,
      // The machine. With acpi=off QEMU announces the virtio-mmio devices on the kernel's command line itself; rtc=off
      // costs the kernel a second of waiting.
      "-M", "microvm,acpi=off,rtc=on,pcie=off,usb=off,x-option-roms=off,memory-backend=ram,mem-merge=off", "-accel",
      kvm ? "kvm" : "tcg,thread=multi,tb-size=" + std::to_string(tcg_buffer_mb), "-cpu", kvm ? "host" : emulated_cpu,
      "-smp", std::to_string(spec.vcpu), "-m", std::to_string(spec.memory_mb), "-nodefaults", "-no-user-config",
      "-no-reboot", "-display", "none", "-sandbox",
      "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", "-object",
      R"({"qom-type":"main-loop","id":"main-loop","thread-pool-max":8})",
      // Shared, as QEMU believes; the preload makes it private.
      "-object",
      JsonOption()
          .text("qom-type", "memory-backend-file")
          .text("id", "ram")
          .number("size", std::uint64_t{spec.memory_mb} << 20)
          .text("mem-path", names.memory.string())
          .flag("share", true)
          .str(),
      "-kernel", names.kernel, "-append", kernel_line,
      // Control, console, channel.
      "-chardev", socket_option("qmp", descriptors.qmp), "-mon", "chardev=qmp,mode=control", "-chardev",
      socket_option("con", descriptors.console), "-serial", "chardev:con", "-chardev",
      socket_option("ch", descriptors.channel), "-device", "virtio-serial-device", "-device",
      "virtserialport,chardev=ch,name=nanobox.channel", "-object", "rng-builtin,id=rng", "-device",
      "virtio-rng-device,rng=rng"};
  // The disk. Every layer names its driver and what is below it: a header the guest wrote is never looked at.
  const std::vector<std::string> layers{JsonOption()
                                            .text("driver", "file")
                                            .text("node-name", "base-file")
                                            .text("filename", names.base.string())
                                            .flag("read-only", true)
                                            .unsafe_cache()
                                            .str(),
                                        JsonOption()
                                            .text("driver", "raw")
                                            .text("node-name", "base")
                                            .text("file", "base-file")
                                            .flag("read-only", true)
                                            .unsafe_cache()
                                            .str(),
                                        JsonOption()
                                            .text("driver", "file")
                                            .text("node-name", "disk-file")
                                            .text("filename", names.disk.string())
                                            .text("discard", "unmap")
                                            .unsafe_cache()
                                            .str(),
                                        JsonOption()
                                            .text("driver", "qcow2")
                                            .text("node-name", "disk")
                                            .text("file", "disk-file")
                                            .text("backing", "base")
                                            .text("discard", "unmap")
                                            .unsafe_cache()
                                            .str()};
  for (const auto& layer : layers) argv.insert(argv.end(), {"-blockdev", layer});
  argv.insert(argv.end(), {"-device", "virtio-blk-device,drive=disk"});
  if (is_plain(spec.sandbox_id)) argv.insert(argv.end(), {"-name", "guest=" + spec.sandbox_id});  // seen in ps
  return argv;
}

std::vector<std::string> qemu_environment(const QemuNames& names) {
  return {"NANOBOX_PRIVATE_MEMORY=" + names.memory.string(), "QEMU_MODULE_DIR=" + (names.vmm / "modules").string()};
}

}  // namespace nanobox
