#include "http/proxy/response_parser.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "http/transport/header_list.hpp"
#include "http/transport/piece_body.hpp"

namespace nanobox::http::proxy {
namespace {

namespace beast = boost::beast;
using transport::is_hop_by_hop;
using transport::list_items;
using transport::lower;

constexpr std::string_view start_of_answer = "HTTP/1.";
constexpr int interim_limit = 16;
constexpr std::size_t header_count_limit = 200;
// Chunk sizes with their extensions, and trailers, are never larger than this.
constexpr std::size_t chunk_line_limit = 16 << 10;

std::string_view view(beast::string_view text) {
  return {text.data(), text.size()};
}

bool is_number(std::string_view text) {
  return !text.empty() && text.size() < 20 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// The edge writes these itself.
bool is_the_edges(std::string_view name) {
  return name == "content-length" || name == "date" || name == "x-request-id";
}

}  // namespace

StreamHead stream_head_of(const ServiceAnswer& answer) {
  return {
      .status = answer.status, .content_type = {}, .headers = answer.headers, .content_length = answer.content_length};
}

struct ResponseParser::Parser {
  bool begun = false;  // something was consumed
  beast::http::response_parser<transport::PieceBody> message;
};

ResponseParser::ResponseParser(bool to_head, bool may_upgrade, std::size_t header_limit)
    : to_head_(to_head), may_upgrade_(may_upgrade), header_limit_(header_limit) {}
ResponseParser::~ResponseParser() = default;
ResponseParser::ResponseParser(ResponseParser&&) noexcept = default;
ResponseParser& ResponseParser::operator=(ResponseParser&&) noexcept = default;

void ResponseParser::append(std::string_view bytes) {
  if (place_ == Place::done || place_ == Place::refused) return;
  buffer_.append(bytes);
}

void ResponseParser::end_of_input() {
  ended_ = true;
}

void ResponseParser::consume(std::size_t count) {
  used_ += count;
  if (used_ == buffer_.size() || used_ > buffer_.size() / 2) {
    buffer_.erase(0, used_);
    used_ = 0;
  }
}

ResponseParser::Event ResponseParser::refuse(ErrorCode code, std::string reason) {
  place_ = Place::refused;
  buffer_.clear();
  used_ = 0;
  error_ = {.code = code,
            .attempted = "read the service's answer",
            .subject = {},
            .reason = std::move(reason),
            .mend = "see what listens on that port inside the sandbox"};
  return Event::refused;
}

ResponseParser::Event ResponseParser::next() {
  switch (place_) {
    case Place::head:
      return read_head();
    case Place::body:
      return read_body();
    case Place::refused:
      return Event::refused;
    case Place::done:
    case Place::upgraded:
      break;
  }
  return Event::need_more;
}

ResponseParser::Event ResponseParser::read_head() {
  if (!parser_) {
    parser_ = std::make_unique<Parser>();
    parser_->message.header_limit(static_cast<std::uint32_t>(header_limit_));
    parser_->message.body_limit(std::numeric_limits<std::uint64_t>::max());
    parser_->message.skip(to_head_);
  }
  // A service that speaks something else may wait for its client for ever: its first bytes tell.
  const auto begun = std::string_view(buffer_).substr(used_, start_of_answer.size());
  if (!parser_->begun && !start_of_answer.starts_with(begun))
    return refuse(ErrorCode::guest_protocol, "it does not speak HTTP/1");
  auto& message = parser_->message;
  while (!message.is_header_done()) {
    boost::system::error_code wrong;
    const auto held = buffer_.size() - used_;
    const std::size_t taken = message.put(boost::asio::const_buffer(buffer_.data() + used_, held), wrong);
    consume(taken);
    parser_->begun = parser_->begun || taken > 0;
    if (wrong == beast::http::error::need_more && held - taken > header_limit_)
      wrong = beast::http::error::header_limit;
    if (wrong == beast::http::error::header_limit)
      return refuse(ErrorCode::guest_protocol,
                    "its header block is larger than " + std::to_string(header_limit_) + " bytes");
    if (wrong && wrong != beast::http::error::need_more) return refuse(ErrorCode::guest_protocol, wrong.message());
    if (wrong || (taken == 0 && !message.is_header_done())) {
      if (ended_) return refuse(ErrorCode::guest_gone, "it ended before the answer's head was whole");
      return Event::need_more;
    }
  }
  return check_head();
}

ResponseParser::Event ResponseParser::check_head() {
  auto& message = parser_->message.get();
  if (message.version() != 10 && message.version() != 11)
    return refuse(ErrorCode::guest_protocol, "it speaks neither HTTP/1.0 nor HTTP/1.1");
  answer_ = {};
  answer_.status = static_cast<int>(message.result_int());
  int lengths = 0;
  int codings = 0;
  bool plain_length = true;
  bool plain_chunked = true;
  std::size_t count = 0;
  std::vector<std::string> hop;
  for (const auto& field : message)
    if (lower(view(field.name_string())) == "connection")
      for (const auto option : list_items(view(field.value()))) hop.push_back(lower(option));
  for (const auto& field : message) {
    const auto name = lower(view(field.name_string()));
    const auto value = view(field.value());
    if (++count > header_count_limit) return refuse(ErrorCode::guest_protocol, "it sent more than 200 headers");
    if (name == "content-length") {
      ++lengths;
      plain_length = plain_length && is_number(value);
    }
    if (name == "transfer-encoding") {
      ++codings;
      plain_chunked = plain_chunked && lower(value) == "chunked";
    }
    if (name == "upgrade") answer_.upgrade = value;
    if (!is_hop_by_hop(name) && !is_the_edges(name) && std::ranges::find(hop, name) == hop.end())
      answer_.headers.emplace_back(std::string(view(field.name_string())), std::string(value));
  }
  if (lengths > 1 || !plain_length) return refuse(ErrorCode::guest_protocol, "its Content-Length is not one number");
  if (codings > 0 && lengths > 0)
    return refuse(ErrorCode::guest_protocol, "it sent both Content-Length and Transfer-Encoding");
  if (codings > 1 || !plain_chunked || (codings > 0 && message.version() == 10))
    return refuse(ErrorCode::guest_protocol, "it uses a transfer coding other than 'chunked'");

  if (answer_.status == 101) {
    if (!may_upgrade_ || answer_.upgrade.empty())
      return refuse(ErrorCode::guest_protocol, "it switched protocols unasked");
    place_ = Place::upgraded;
    return Event::upgraded;
  }
  answer_.upgrade.clear();
  if (answer_.status < 200) {
    if (answer_.status < 100) return refuse(ErrorCode::guest_protocol, "its status is below 100");
    if (++interims_ > interim_limit) return refuse(ErrorCode::guest_protocol, "it sent too many interim answers");
    parser_.reset();
    return read_head();
  }
  if (const auto length = parser_->message.content_length()) answer_.content_length = *length;
  place_ = Place::body;
  return Event::head;
}

ResponseParser::Event ResponseParser::read_body() {
  auto& message = parser_->message;
  message.eager(true);
  while (!message.is_done()) {
    boost::system::error_code wrong;
    const auto held = buffer_.size() - used_;
    if (held == 0) {
      if (!message.get().body().empty()) return Event::body;
      if (!ended_) return Event::need_more;
      message.put_eof(wrong);
      if (wrong) return refuse(ErrorCode::guest_gone, "it ended in the middle of the answer");
      break;
    }
    const std::size_t taken = message.put(boost::asio::const_buffer(buffer_.data() + used_, held), wrong);
    consume(taken);
    if (!message.get().body().empty()) return Event::body;  // what is wrong behind it shows at the next call
    if (wrong && wrong != beast::http::error::need_more) return refuse(ErrorCode::guest_protocol, wrong.message());
    if (!wrong && taken > 0) continue;
    if (held - taken > chunk_line_limit) return refuse(ErrorCode::guest_protocol, "a chunk's first line is too long");
    if (ended_) return refuse(ErrorCode::guest_gone, "it ended in the middle of the answer");
    return Event::need_more;
  }
  if (!message.get().body().empty()) return Event::body;
  place_ = Place::done;
  buffer_.clear();
  used_ = 0;
  return Event::complete;
}

std::string ResponseParser::take_body() {
  return parser_ ? std::exchange(parser_->message.get().body(), {}) : std::string();
}

std::string ResponseParser::take_rest() {
  auto rest = buffer_.substr(used_);
  buffer_.clear();
  used_ = 0;
  return rest;
}

}  // namespace nanobox::http::proxy
