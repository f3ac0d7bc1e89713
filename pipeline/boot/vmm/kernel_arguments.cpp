#include "pipeline/boot/vmm/kernel_arguments.hpp"

#include <algorithm>
#include <sstream>
#include <vector>

namespace nanobox {

namespace {

// COMMAND_LINE_SIZE is 2048; QEMU appends some 45 bytes for each virtio-mmio device.
constexpr std::size_t longest = 1500;

Error invalid(std::string reason, std::string mend) {
  return {.code = ErrorCode::config_invalid,
          .attempted = "read the kernel's arguments",
          .subject = "firecracker.boot_args",
          .reason = std::move(reason),
          .mend = std::move(mend)};
}

}  // namespace

Result<std::string> kernel_arguments(std::string_view boot_args, const KernelMachine& machine) {
  if (std::any_of(boot_args.begin(), boot_args.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }))
    return fail(invalid("there is a control character in it", "separate the arguments by blanks"));

  std::istringstream words{std::string(boot_args)};
  std::string line;
  bool console = false, loudness = false, init = false, rootflags = false;
  for (std::string word; words >> word;) {
    console |= word.starts_with("console=");
    loudness |= word == "quiet" || word == "debug" || word == "ignore_loglevel" || word.starts_with("loglevel=");
    init |= word.starts_with("init=");
    rootflags |= word.starts_with("rootflags=");
    line += word + ' ';
  }
  if (!console) line += "console=ttyS0 ";
  if (!loudness) line += "quiet ";
  if (!init) line += "init=/sbin/nanobox-init ";
  line += "reboot=t panic=-1 tsc=reliable no_timer_check ";
  if (machine.tsc_khz) line += "tsc_early_khz=" + std::to_string(*machine.tsc_khz) + ' ';
  if (machine.emulated && machine.vcpu == 1 && !machine.idles_long) line += "nolapic_timer ";
  // Else a thread reads and zeroes what the disk was grown by, some seconds later, in each copy anew.
  if (!rootflags) line += "rootflags=noinit_itable,no_prefetch_block_bitmaps ";
  line += "root=/dev/vda rw";
  if (line.size() > longest)
    return fail(invalid("with the machine's own arguments it has " + std::to_string(line.size()) + " bytes",
                        "keep it below " + std::to_string(longest - (line.size() - boot_args.size())) + " bytes"));
  return line;
}

}  // namespace nanobox
