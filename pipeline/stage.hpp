#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

namespace nanobox {

/// Who does a stage's work: the actor of that name.
enum class Concern : std::uint8_t {
  image_puller = 1,
  layer_extractor,
  ext4_builder,
  template_registry,
  scheduler,
  ip_allocator,
  network_keeper,
  disk_keeper,
  vm_supervisor,
  snapshot_maker,
};
std::string_view to_string(Concern concern);

/// How a stage is run. A stage's tag type has these as static members:
///   Input, Output   types of value; neighbours must chain
///   name            as in the API
///   concern         the actor
///   input, output   the types' names for people
///   deadline        for one attempt
///   retries         further attempts after a transient failure
///   undo            what is done when a later stage fails, for people; empty where nothing is
///   group_start     a retry begins again at this stage or the nearest one before it that is one
///   overlaps_next   it answers while its work goes on, and ends together with the next stage
///   commits         once it succeeded, nothing before it is undone
struct StageDescription {
  std::string_view name;
  Concern concern;
  std::string_view input;
  std::string_view output;
  std::chrono::milliseconds deadline;
  unsigned retries;
  std::string_view undo;
  bool overlaps_next = false;
  bool commits = false;
};

/// What holds for a stage that says nothing else.
struct StageDefaults {
  static constexpr std::string_view undo = "";
  static constexpr unsigned retries = 0;
  static constexpr bool group_start = true, overlaps_next = false, commits = false;
};

/// A pipeline is its stages' tags in order; a list whose neighbours do not fit does not compile.
template <class... Tags>
struct Pipeline {
  static constexpr std::size_t size = sizeof...(Tags);
  template <std::size_t I>
  using Tag = std::tuple_element_t<I, std::tuple<Tags...>>;
  using Input = typename Tag<0>::Input;
  using Output = typename Tag<size - 1>::Output;

  static constexpr std::array<StageDescription, size> describe() {
    return {StageDescription{Tags::name, Tags::concern, Tags::input, Tags::output, Tags::deadline, Tags::retries,
                             Tags::undo, Tags::overlaps_next, Tags::commits}...};
  }

private:
  template <std::size_t... I>
  static constexpr bool chains(std::index_sequence<I...>) {
    return (std::is_same_v<typename Tag<I>::Output, typename Tag<I + 1>::Input> && ...);
  }
  static_assert(chains(std::make_index_sequence<size - 1>{}), "each stage's Output must be the next one's Input");
};

/// A pipeline as the API and the inspection tool show it.
struct PipelineDescription {
  std::string_view name;
  std::vector<StageDescription> stages;
};

}  // namespace nanobox
