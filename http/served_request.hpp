#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/request.hpp"

namespace nanobox::http {

/// What became of a request, whole: its answer has been given, or the client has gone.
struct ServedRequest {
  Method method = Method::get;
  std::string route;    ///< the matched pattern; empty: none
  std::string path;     ///< as sent
  std::string subject;  ///< the route's {id}; empty: it has none
  std::string owner;    ///< the name of the key; empty where nobody was identified
  std::string peer_address;
  std::string request_id;
  int status = 0;         ///< 101 for a connection that was taken over; 0: the client went before an answer
  bool streamed = false;  ///< piece by piece, or another protocol
  std::chrono::microseconds duration{0};  ///< from the whole head, of streams to their end
  /// What the resource said of it (Responder::note), in its order: {"sandbox", id}, {"command", …}; the problem's
  /// {"code", …} and {"detail", …}.
  std::vector<std::pair<std::string, std::string>> notes;
};

/// The first note of that name; empty where there is none.
inline std::string_view note_of(const ServedRequest& request, std::string_view key) {
  for (const auto& [name, value] : request.notes)
    if (name == key) return value;
  return {};
}

/// Called once a request, on any thread: must not block.
using ServedRequestSink = std::function<void(const ServedRequest&)>;

}  // namespace nanobox::http
