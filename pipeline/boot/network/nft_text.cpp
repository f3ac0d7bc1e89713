#include "pipeline/boot/network/nft_text.hpp"

#include <linux/close_range.h>
#include <nftables/libnftables.h>
#include <unistd.h>

#include <memory>
#include <mutex>

#include "pipeline/boot/network/nft_batch.hpp"
#include "pipeline/boot/network/own_thread.hpp"

namespace nanobox {
namespace {

struct FreeContext {
  void operator()(nft_ctx* context) const noexcept { nft_ctx_free(context); }
};

Result<std::string> run_here(const std::string& commands) {
  // libnftables ends the process where it cannot have its socket: see first whether there is one.
  NANOBOX_TRY(NftSocket::open());
  const std::unique_ptr<nft_ctx, FreeContext> context(nft_ctx_new(NFT_CTX_DEFAULT));
  Error error{.code = ErrorCode::network_unavailable,
              .attempted = "load nftables rules",
              .subject = "",
              .reason = "libnftables gave no context",
              .mend = ""};
  if (!context) return fail(std::move(error));
  nft_ctx_buffer_error(context.get());
  nft_ctx_buffer_output(context.get());
  if (nft_run_cmd_from_buffer(context.get(), commands.c_str()) == 0)
    return std::string(nft_ctx_get_output_buffer(context.get()));
  error.reason = nft_ctx_get_error_buffer(context.get());
  error.mend =
      "nanoboxd needs CAP_NET_ADMIN and a kernel with nf_tables, nft_nat, nft_masq, nft_connlimit and nft_limit";
  return fail(std::move(error));
}

std::mutex& one_at_a_time() {
  static std::mutex mutex;
  return mutex;
}

}  // namespace

Result<void> run_nft(const std::string& commands) {
  NANOBOX_TRY(ask_nft(commands));
  return {};
}

Result<std::string> ask_nft(const std::string& command) {
  const std::lock_guard lock(one_at_a_time());
  std::string said;
  NANOBOX_TRY(run_on_own_thread([&]() -> Result<void> {
    // libnftables waits by select(), which aborts the process for descriptors from 1024 on: give it a table of its own.
    if (::close_range(3, ~0U, CLOSE_RANGE_UNSHARE) != 0)
      return fail(errno_error(errno, "load nftables rules", "", ErrorCode::network_unavailable));
    said = NANOBOX_TRY(run_here(command));
    return {};
  }));
  return said;
}

}  // namespace nanobox
