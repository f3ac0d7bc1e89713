#include "actors/wire/record_inspect.hpp"

#include "actors/concerns.hpp"
#include "pipeline/record_fields.hpp"

namespace nanobox {

template <class F, FieldsOf<WarmupAnswer> T>
void fields(F& f, T& x) {
  auto& [name, operation_id, status] = x;
  f("name", name), f("operation_id", operation_id), f("status", status);
}

template <class F, FieldsOf<Forked> T>
void fields(F& f, T& x) {
  auto& [children, pause_us, frozen_us] = x;
  f("children", children), f("pause_us", pause_us), f("frozen_us", frozen_us);
}

namespace {

/// One thing is small; what a fork answers are many.
template <class T>
constexpr std::size_t kRecordMax = std::is_same_v<T, Forked> ? kRecordTextMax : std::size_t{4} << 20;

template <class T>
caf::error save(caf::serializer& sink, const T& x) {
  auto text = write_fields(x);
  if (text.size() > kRecordMax<T>) return unreadable("a record is too large");
  return sink(text);
}

template <class T>
caf::error load(caf::deserializer& source, T& x) {
  std::string text;
  if (auto error = source(text)) return error;
  if (text.size() > kRecordMax<T>) return unreadable("a record is too large");
  auto read = read_fields<T>(text);
  if (!read) return unreadable("no such record");
  x = std::move(*read);
  return caf::none;
}

}  // namespace

#define NANOBOX_X(type)                                    \
  caf::error inspect(caf::serializer& sink, type& x) {     \
    return save(sink, x);                                  \
  }                                                        \
  caf::error inspect(caf::deserializer& source, type& x) { \
    return load(source, x);                                \
  }
NANOBOX_X(Sandbox)
NANOBOX_X(SandboxNetwork)
NANOBOX_X(Template)
NANOBOX_X(RunRecord)
NANOBOX_X(PoolState)
NANOBOX_X(SandboxDeath)
NANOBOX_X(ConcernReport)
NANOBOX_X(TemplateUsage)
NANOBOX_X(StageProgress)
NANOBOX_X(ImageRequest)
NANOBOX_X(WarmupRequest)
NANOBOX_X(WarmupAnswer)
NANOBOX_X(Forked)
#undef NANOBOX_X

}  // namespace nanobox
