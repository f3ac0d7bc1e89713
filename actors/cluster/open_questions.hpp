#pragma once

#include <functional>
#include <map>
#include <memory>

#include "actors/messages.hpp"

namespace nanobox {

/// What an actor was asked and has yet to answer. Whoever still waits when it ends is told, however it ends: CAF lets
/// the promises of an actor that died go without a word.
class OpenQuestions {
public:
  using Tell = std::function<void(const Error&)>;

  /// @param at_end  what those are told that are left when `self` ends
  template <class Self>
  OpenQuestions(Self* self, Error at_end) : open_(std::make_shared<Open>()) {
    self->attach_functor([open = open_, at_end = std::move(at_end)] { tell_all(*open, at_end); });
  }

  /// @returns its number
  std::uint64_t add(Tell tell) {
    open_->by_number.emplace(++open_->last, std::move(tell));
    return open_->last;
  }
  /// Its asker was told. @returns whether it was still open
  bool close(std::uint64_t number) const { return open_->by_number.erase(number) != 0; }
  void fail_all(const Error& error) { tell_all(*open_, error); }

private:
  struct Open {
    std::map<std::uint64_t, Tell> by_number;
    std::uint64_t last = 0;
  };
  static void tell_all(Open& open, const Error& error) {
    for (auto& [number, tell] : std::exchange(open.by_number, {})) tell(error);
  }
  std::shared_ptr<Open> open_;
};

/// What those are told that asked a directory which died: the node may have done it.
inline Error directory_died(const std::string& concern) {
  return {.code = ErrorCode::not_ready,
          .attempted = "ask " + concern,
          .subject = "",
          .reason = "it died before it answered and is being started again",
          .mend = "look whether it was done, then try again",
          .transient = true};
}

/// A promise of an actor with open questions: kept once, nothing follows the first answer.
template <class T>
class Question {
public:
  Question(OpenQuestions& questions, caf::typed_response_promise<T> promise)
      : questions_(questions), promise_(std::move(promise)) {
    number_ = questions_.add([to = promise_](const Error& error) mutable { to.deliver(to_caf(error)); });
  }
  template <class Value>
  void answer(Value value) const {
    auto to = promise_;
    if (questions_.close(number_)) to.deliver(std::move(value));
  }
  void answer() const {
    if (questions_.close(number_)) deliver_done(promise_);
  }
  void fail(const Error& error) const { answer(to_caf(error)); }
  /// What a handler returns that answers later.
  const caf::typed_response_promise<T>& promise() const { return promise_; }

private:
  OpenQuestions questions_;  // shares what is open
  caf::typed_response_promise<T> promise_;
  std::uint64_t number_ = 0;
};

}  // namespace nanobox
