#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "http/body_reader.hpp"

namespace nanobox::http::transport {

/// A client's bytes on their way from the connection to whoever reads them, with credit. Thread-safe; callbacks are
/// called in order, one at a time, by whoever calls `deliver`.
class InputPipe {
public:
  /// For the reader. The callbacks are called from `deliver`, or here where the pipe is `orphan`ed.
  void start(OnData on_data, OnEnd on_end);
  /// @returns whether reading may go on now after a pause
  bool consumed(std::size_t bytes);
  /// Nobody reads any more: what is held and what comes is dropped, no callback is called.
  void abandon();

  /// For the connection.
  void push(std::string bytes);
  /// Behind everything pushed. Only the first end counts.
  void end(Result<void> how);
  void deliver();
  /// False from BodyReader::credit undigested bytes on until half of them are digested.
  bool wants_input();
  bool abandoned() const;
  /// The connection looks after it no longer: who starts to read from now on delivers itself.
  void orphan();

private:
  struct Callbacks {
    OnData on_data;
    OnEnd on_end;
  };

  mutable std::mutex mutex_;
  std::shared_ptr<const Callbacks> callbacks_;
  std::deque<std::string> waiting_;
  std::size_t held_ = 0;
  std::optional<Result<void>> end_;
  bool started_ = false;
  bool delivering_ = false;
  bool paused_ = false;
  bool abandoned_ = false;
  bool orphaned_ = false;
};

}  // namespace nanobox::http::transport
