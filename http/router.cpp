#include "http/router.hpp"

#include <algorithm>
#include <stdexcept>
#include <tuple>

#include "http/percent.hpp"

namespace nanobox::http {
namespace {

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> segments;
  for (std::size_t at = 0; at < path.size();) {
    const auto end = std::min(path.find('/', at), path.size());
    if (end > at) segments.push_back(path.substr(at, end - at));
    at = end + 1;
  }
  return segments;
}

bool is_name(std::string_view segment) {
  return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}

}  // namespace

void Router::add(Method method, std::string_view pattern, RouteHandler handler, RouteOptions options) {
  insert(method, pattern, {.handler = std::move(handler), .streaming = {}, .options = options});
}

void Router::add_streaming(Method method, std::string_view pattern, StreamingHandler handler, RouteOptions options) {
  insert(method, pattern, {.handler = {}, .streaming = std::move(handler), .options = options});
}

void Router::insert(Method method, std::string_view pattern, Endpoint endpoint) {
  Node* node = &root_;
  std::vector<std::string> names;
  bool takes_rest = false;
  for (const auto segment : split(pattern)) {
    if (takes_rest) throw std::logic_error("{rest...} must be the last segment of " + std::string(pattern));
    if (!is_name(segment)) {
      auto& next = node->fixed[std::string(segment)];
      if (!next) next = std::make_unique<Node>();
      node = next.get();
      continue;
    }
    auto name = segment.substr(1, segment.size() - 2);
    takes_rest = name.ends_with("...");
    if (takes_rest) name.remove_suffix(3);
    names.emplace_back(name);
    auto& next = takes_rest ? node->rest : node->named;
    if (!next) next = std::make_unique<Node>();
    node = next.get();
  }
  if (!node->endpoints.emplace(method, std::move(endpoint)).second)
    throw std::logic_error("registered twice: " + std::string(to_string(method)) + " " + std::string(pattern));
  if (!node->pattern.empty() && node->pattern != pattern)
    throw std::logic_error("two spellings of one pattern: " + node->pattern + ", " + std::string(pattern));
  node->pattern = pattern;
  node->names = std::move(names);
  node->takes_rest = takes_rest;
}

const Router::Node* Router::walk(const Node& node, const std::vector<std::string_view>& segments, std::size_t at,
                                 std::vector<std::string_view>& values, std::string_view path) {
  if (at == segments.size()) {
    if (!node.endpoints.empty()) return &node;
  } else {
    if (const auto found = node.fixed.find(segments[at]); found != node.fixed.end())
      if (const auto* end = walk(*found->second, segments, at + 1, values, path)) return end;
    if (node.named) {
      values.push_back(segments[at]);
      if (const auto* end = walk(*node.named, segments, at + 1, values, path)) return end;
      values.pop_back();
    }
  }
  if (!node.rest) return nullptr;
  // The rest begins right behind the segment before it, so that "//" inside it is kept.
  const auto before =
      at == 0 ? 0 : static_cast<std::size_t>(segments[at - 1].data() - path.data()) + segments[at - 1].size();
  auto rest = path.substr(before);
  if (rest.starts_with('/')) rest.remove_prefix(1);
  values.push_back(rest);
  return node.rest.get();
}

Result<Router::Found> Router::find(Method method, std::string_view path) const {
  const auto segments = split(path);
  std::vector<std::string_view> values;
  const Node* node = walk(root_, segments, 0, values, path);
  if (node == nullptr) return NoRoute{};
  auto endpoint = node->endpoints.find(method);
  if (endpoint == node->endpoints.end() && method == Method::head) endpoint = node->endpoints.find(Method::get);
  if (endpoint == node->endpoints.end()) {
    OtherMethods others;
    const auto say = [&](Method each) {
      if (!others.allow.empty()) others.allow += ", ";
      others.allow += to_string(each);
    };
    for (const auto& [each, unused] : node->endpoints) {
      say(each);
      if (each == Method::get && !node->endpoints.contains(Method::head)) say(Method::head);
    }
    return others;
  }
  const bool streams = static_cast<bool>(endpoint->second.streaming);
  Match match{.handler = streams ? nullptr : &endpoint->second.handler,
              .streaming = streams ? &endpoint->second.streaming : nullptr,
              .options = endpoint->second.options,
              .pattern = node->pattern,
              .params = {}};
  for (std::size_t i = 0; i < node->names.size(); ++i) {
    const bool raw = node->takes_rest && i + 1 == node->names.size();
    match.params[node->names[i]] = raw ? std::string(values[i]) : NANOBOX_TRY(percent_decode(values[i]));
  }
  return match;
}

std::vector<std::pair<Method, std::string>> Router::routes() const {
  std::vector<std::pair<Method, std::string>> all;
  std::vector<const Node*> open{&root_};
  while (!open.empty()) {
    const Node* node = open.back();
    open.pop_back();
    for (const auto& [method, endpoint] : node->endpoints) all.emplace_back(method, node->pattern);
    for (const auto& [segment, next] : node->fixed) open.push_back(next.get());
    if (node->named) open.push_back(node->named.get());
    if (node->rest) open.push_back(node->rest.get());
  }
  std::ranges::sort(all, [](const auto& left, const auto& right) {
    return std::tie(left.second, left.first) < std::tie(right.second, right.first);
  });
  return all;
}

}  // namespace nanobox::http
