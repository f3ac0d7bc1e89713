#include "pipeline/boot/network/own_thread.hpp"

#include <exception>
#include <system_error>
#include <thread>

namespace nanobox {

Result<void> run_on_own_thread(const std::function<Result<void>()>& work) {
  Result<void> answer;
  try {
    std::thread([&] {
      try {
        answer = work();
      } catch (const std::exception& thrown) {
        answer = fail({.code = ErrorCode::internal,
                       .attempted = "work on a thread",
                       .subject = "",
                       .reason = thrown.what(),
                       .mend = ""});
      }
    }).join();
  } catch (const std::system_error& thrown) {
    auto error = errno_error(thrown.code().value(), "start a thread", "");
    error.transient = true;
    return fail(std::move(error));
  }
  return answer;
}

}  // namespace nanobox
