#include "actors/cluster/template_fetcher.hpp"

#include "actors/job.hpp"
#include "actors/serving_template.hpp"

namespace nanobox {

namespace {

using Self = TemplateFetcherActor::stateful_pointer<TemplateFetcherState>;
constexpr std::chrono::minutes kFetchDeadline{60};
constexpr std::chrono::seconds kStoreDeadline{30};

std::string version_of(const Template& entry) {
  return template_key(entry.owner, entry.name) + " " + entry.rootfs.identity;
}

bool is_here(const Services& services, const Template& wanted) {
  const auto here = services.boards->templates.find(template_key(wanted.owner, wanted.name));
  return here && here->usable() && is_same_version(*here, wanted);
}

void over(Self self, const std::string& version, const Result<std::string>& outcome) {
  for (auto& promise : self->state.fetching[version]) deliver_result(promise, outcome);
  self->state.fetching.erase(version);
}

std::string in_words(const FetchedTemplate& fetched, std::chrono::steady_clock::duration took) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(took).count();
  return "template fetched from " + fetched.source + ": " + std::to_string(fetched.bytes) + " bytes in " +
         std::to_string(ms) + " ms";
}

}  // namespace

TemplateFetcherActor::behavior_type template_fetcher(Self self, SharedServices services,
                                                     TemplateRegistryActor templates, FetchTemplate fetch) {
  self->state.services = std::move(services);
  self->state.templates = std::move(templates);
  self->state.fetch = std::move(fetch);
  return {
      [self](fetch_atom, const TemplateOffer& offer) -> caf::result<std::string> {
        auto& state = self->state;
        if (is_here(*state.services, offer.entry)) return std::string();
        auto promise = self->make_response_promise<std::string>();
        const auto version = version_of(offer.entry);
        auto& waiting = state.fetching[version];
        waiting.push_back(promise);
        if (waiting.size() > 1) return promise;
        const auto began = self->clock().now();
        request_job(self, kFetchDeadline,
                    [services = state.services, fetch = state.fetch, offer] { return fetch(*services, offer); })
            .then(
                [self, version, began](FetchedTemplate& fetched) {
                  const auto words = in_words(fetched, self->clock().now() - began);
                  self->request(self->state.templates, kStoreDeadline, adopt_atom_v, std::move(fetched.entry))
                      .then([self, version, words](const Template&) { over(self, version, words); },
                            [self, version](caf::error& error) {
                              over(self, version, fail(from_caf(error, "keep a fetched template")));
                            });
                },
                [self, version](caf::error& error) {
                  over(self, version, fail(from_caf(error, "fetch the template")));
                });
        return promise;
      },
  };
}

}  // namespace nanobox
