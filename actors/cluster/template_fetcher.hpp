#pragma once

#include <deque>
#include <functional>
#include <map>

#include "actors/cluster/concerns.hpp"
#include "actors/services.hpp"

namespace nanobox {

/// What fetching a template took.
struct FetchedTemplate {
  Template entry;  ///< as this node has it: its own paths
  std::string source;
  std::uint64_t bytes = 0;
};

/// Gets a template's files from one of the offer's sources to their places here. Blocking.
/// @errors artifact_missing · connection_failed · digest_mismatch · disk_full
using FetchTemplate = std::function<Result<FetchedTemplate>(const Services& services, const TemplateOffer& offer)>;

struct TemplateFetcherState {
  static inline const char* name = "template_fetcher";
  SharedServices services;
  TemplateRegistryActor templates;
  FetchTemplate fetch;
  /// By template_key and root: who waits for it.
  std::map<std::string, std::vector<caf::typed_response_promise<std::string>>> fetching;
};

/// Each version is fetched once, however many sandboxes wait for it.
TemplateFetcherActor::behavior_type template_fetcher(TemplateFetcherActor::stateful_pointer<TemplateFetcherState> self,
                                                     SharedServices services, TemplateRegistryActor templates,
                                                     FetchTemplate fetch);

}  // namespace nanobox

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(nanobox::FetchedTemplate)
