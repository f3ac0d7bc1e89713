#pragma once

#include <deque>
#include <map>

#include "actors/cluster/artifact_fetch.hpp"
#include "actors/cluster/concerns.hpp"
#include "actors/services.hpp"

namespace nanobox {

/// What fetching a template took.
struct FetchedTemplate {
  Template entry;                    ///< as this node has it: its own paths, its snapshot if that came along
  ArtifactOrigin origin;             ///< of the root
  std::shared_ptr<const void> held;  ///< its snapshot is not collected until somebody names it
};

struct TemplateFetcherState {
  static inline const char* name = "template_fetcher";
  SharedServices services;
  TemplateRegistryActor templates;
  FetchArtifact fetch;
  /// By template_key and root: who waits for it.
  std::map<std::string, std::vector<caf::typed_response_promise<std::string>>> fetching;
};

/// Each version is fetched once, however many sandboxes wait for it.
TemplateFetcherActor::behavior_type template_fetcher(TemplateFetcherActor::stateful_pointer<TemplateFetcherState> self,
                                                     SharedServices services, TemplateRegistryActor templates,
                                                     FetchArtifact fetch);

}  // namespace nanobox

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(nanobox::FetchedTemplate)
