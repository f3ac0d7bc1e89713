#include "http/transport/header_list.hpp"

#include <algorithm>
#include <iterator>

namespace nanobox::http::transport {

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

std::vector<std::string_view> list_items(std::string_view value) {
  std::vector<std::string_view> items;
  for (;;) {
    const auto comma = value.find(',');
    auto item = value.substr(0, comma);
    const auto begin = item.find_first_not_of(" \t");
    if (begin != std::string_view::npos) items.push_back(item.substr(begin, item.find_last_not_of(" \t") - begin + 1));
    if (comma == std::string_view::npos) return items;
    value.remove_prefix(comma + 1);
  }
}

bool is_hop_by_hop(std::string_view name) {
  static constexpr std::string_view names[] = {"connection", "keep-alive",        "proxy-connection", "te",
                                               "trailer",    "transfer-encoding", "upgrade"};
  return std::ranges::find(names, name) != std::end(names);
}

}  // namespace nanobox::http::transport
