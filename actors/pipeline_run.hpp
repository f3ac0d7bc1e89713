#pragma once

#include <functional>
#include <optional>
#include <tuple>

#include "actors/calls.hpp"

namespace nanobox {

/// The life of one run of a pipeline, whatever the pipeline: asks stage after stage, retries, undoes, records.
/// A concern's messages come from overloads found by the stage's tag (stage_routes.hpp):
///   ask(self, concerns, call, Tag, input)  → the response handle
///   ask_undo(self, concerns, call, Tag)    → the response handle; only where Tag::undo says something
///   interrupt(self, concerns, call)        tells the concerns that the work is not wanted any more
template <class PipelineT, class Concerns, class Call>
struct PipelineRunState {
  static inline const char* name = "pipeline-run";
  template <std::size_t... I>
  static auto inputs_of(std::index_sequence<I...>)
      -> std::tuple<std::optional<typename PipelineT::template Tag<I>::Input>...>;
  using Inputs = decltype(inputs_of(std::make_index_sequence<PipelineT::size>{}));

  RunRecord record;
  Concerns concerns;
  Call call;
  RunRecorderActor recorder;
  /// Told the outcome before the run's actor ends; on the actor's thread.
  std::function<void(const RunRecord&, Result<typename PipelineT::Output>)> done;
  Inputs inputs;  ///< kept for a retry
  std::size_t current = 0;
  bool cancelled = false;
  bool undoing = false;
  std::optional<Error> failure;  ///< why it is being undone
};

namespace detail {

constexpr std::chrono::milliseconds kFirstBackOff{200};
constexpr std::uint32_t kUndoAttempts = 6;

template <class P, class Self>
void publish_record(Self* self) {
  self->send(self->state.recorder, record_atom_v, self->state.record);
}

inline Error cancelled_error(const RunRecord& record) {
  return {.code = ErrorCode::cancelled,
          .attempted = "run " + record.pipeline + " of",
          .subject = record.subject,
          .reason = "it was cancelled",
          .mend = ""};
}

template <class P, class Self>
void end_run(Self* self, Result<typename P::Output> outcome) {
  auto& state = self->state;
  const auto status = outcome ? RunStatus::succeeded : state.cancelled ? RunStatus::cancelled : RunStatus::failed;
  run_ended(state.record, status, outcome ? std::nullopt : std::optional(outcome.error()), precise_now());
  publish_record<P>(self);
  release(self, state.concerns, state.call);
  if (state.done) state.done(state.record, std::move(outcome));
  self->quit();
}

template <class P, std::size_t I, class Self>
void undo_stage(Self* self, std::uint32_t attempt);

/// Undoes stage I and those before it, back to the last commit point.
template <class P, std::size_t I, class Self>
void undo_from(Self* self) {
  if constexpr (I == static_cast<std::size_t>(-1)) {
    end_run<P>(self, fail(*self->state.failure));
  } else if constexpr (P::template Tag<I>::commits) {
    // A commit point that failed itself leaves nothing; one that succeeded is not undone.
    if (self->state.record.stages[I].status == StageStatus::succeeded)
      end_run<P>(self, fail(*self->state.failure));
    else
      undo_from<P, I - 1>(self);
  } else if constexpr (P::template Tag<I>::undo.empty()) {
    undo_from<P, I - 1>(self);
  } else {
    undo_stage<P, I>(self, 1);
  }
}

/// Undoes stage I, again later where its concern is just being started anew, then those before it.
template <class P, std::size_t I, class Self>
void undo_stage(Self* self, std::uint32_t attempt) {
  if constexpr (!P::template Tag<I>::undo.empty()) {
    const auto next = [self] {
      auto& stage = self->state.record.stages[I];
      if (stage.status == StageStatus::succeeded) stage.status = StageStatus::undone;
      undo_from<P, I - 1>(self);
    };
    ask_undo(self, self->state.concerns, self->state.call, typename P::template Tag<I>{})
        .then([next] { next(); },
              [self, next, attempt](caf::error& failed) {
                if (from_caf(failed, "undo").transient && attempt < kUndoAttempts)
                  self->delayed_send(self, kFirstBackOff * (1 << (attempt - 1)), undo_atom_v,
                                     static_cast<std::uint32_t>(I), attempt + 1);
                else
                  next();
              });
  }
}

template <class P, class Self, std::size_t... I>
void undo_stage_at(Self* self, std::size_t stage, std::uint32_t attempt, std::index_sequence<I...>) {
  ((I == stage ? undo_stage<P, I>(self, attempt) : void()), ...);
}

/// The run will fail with `error`; stage I is the last that may have done something.
template <class P, std::size_t I, class Self>
void begin_undo(Self* self, const Error& error) {
  self->state.undoing = true;
  self->state.failure = error;
  undo_from<P, I>(self);
}

template <class P, std::size_t I, class Self>
void enter_stage(Self* self);

template <class P, class Self, std::size_t... I>
void enter_stage_at(Self* self, std::size_t stage, std::index_sequence<I...>) {
  ((I == stage ? enter_stage<P, I>(self) : void()), ...);
}

template <class P, std::size_t I>
constexpr std::size_t group_start_of() {
  if constexpr (I == 0 || P::template Tag<I>::group_start)
    return I;
  else
    return group_start_of<P, I - 1>();
}

template <class P, std::size_t I, class Self>
void stage_broke(Self* self, Error error) {
  using Tag = typename P::template Tag<I>;
  auto& state = self->state;
  const auto now = precise_now();
  if constexpr (I > 0) {
    // What the overlapping stage before delivers late fails here: it is that one's failure as well, unless all came.
    auto& before = state.record.stages[I - 1];
    if (P::template Tag<I - 1>::overlaps_next && before.status == StageStatus::running) {
      if (before.total_bytes != 0 && before.done_bytes >= before.total_bytes)
        stage_ended(state.record, I - 1, now);
      else
        stage_failed(state.record, I - 1, error, now);
    }
  }
  stage_failed(state.record, I, error, now);
  if (state.cancelled) error = cancelled_error(state.record);
  if (!state.cancelled && error.transient && state.record.stages[I].attempts <= Tag::retries) {
    constexpr std::size_t restart = group_start_of<P, I>();
    const auto attempts = state.record.stages[I].attempts;
    const auto back_off = std::max<std::chrono::milliseconds>(kFirstBackOff * (1 << (attempts - 1)),
                                                              std::chrono::seconds(error.retry_after_sec));
    if (back_off < Tag::deadline) {
      publish_record<P>(self);
      interrupt(self, state.concerns, state.call);
      self->delayed_send(self, back_off, retry_atom_v, static_cast<std::uint32_t>(restart));
      return;
    }
  }
  publish_record<P>(self);
  begin_undo<P, I>(self, error);
}

template <class P, std::size_t I, class Self>
void leave_stage(Self* self, typename P::template Tag<I>::Output output) {
  using Tag = typename P::template Tag<I>;
  auto& state = self->state;
  const auto now = precise_now();
  if constexpr (requires { output.detail; }) state.record.stages[I].detail = output.detail;
  if constexpr (I > 0) {
    if (P::template Tag<I - 1>::overlaps_next) stage_ended(state.record, I - 1, now);
  }
  if constexpr (!Tag::overlaps_next) stage_ended(state.record, I, now);
  if constexpr (I + 1 < P::size) {
    std::get<I + 1>(state.inputs) = std::move(output);
    enter_stage<P, I + 1>(self);
  } else {
    end_run<P>(self, std::move(output));
  }
}

template <class P, std::size_t I, class Self>
void enter_stage(Self* self) {
  using Tag = typename P::template Tag<I>;
  auto& state = self->state;
  if (state.undoing) return;
  if (state.cancelled) {
    begin_undo<P, I - 1>(self, cancelled_error(state.record));
    return;
  }
  state.current = I;
  stage_started(state.record, I, precise_now());
  publish_record<P>(self);
  ask(self, state.concerns, state.call, Tag{}, *std::get<I>(state.inputs))
      .then([self](typename Tag::Output& output) { leave_stage<P, I>(self, std::move(output)); },
            [self](caf::error& error) {
              stage_broke<P, I>(self, from_caf(error, "run stage " + std::string(Tag::name)));
            });
}

}  // namespace detail

/// The behaviour of a run; `state` must be filled but for `inputs` and `call.progress`.
template <class PipelineT, class Self>
RunActor::behavior_type run_pipeline(Self* self, typename PipelineT::Input input) {
  std::get<0>(self->state.inputs) = std::move(input);
  self->send(self, retry_atom_v, std::uint32_t{0});
  return {
      [self](progress_atom, const std::string& stage, const StageProgress& progress) {
        for (auto& record : self->state.record.stages) {
          if (record.name != stage || record.status != StageStatus::running) continue;
          record.done_bytes = progress.done_bytes;
          record.total_bytes = progress.total_bytes;
          record.detail = progress.detail;
          record.layers = progress.layers;
          detail::publish_record<PipelineT>(self);
        }
      },
      [self](cancel_atom) {
        if (self->state.cancelled || self->state.undoing) return;
        self->state.cancelled = true;
        interrupt(self, self->state.concerns, self->state.call);
      },
      [self](undo_atom, std::uint32_t stage, std::uint32_t attempt) {
        detail::undo_stage_at<PipelineT>(self, stage, attempt, std::make_index_sequence<PipelineT::size>{});
      },
      [self](retry_atom, std::uint32_t stage) {
        detail::enter_stage_at<PipelineT>(self, stage, std::make_index_sequence<PipelineT::size>{});
      },
  };
}

}  // namespace nanobox
