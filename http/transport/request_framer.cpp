#include "http/transport/request_framer.hpp"

#include <algorithm>
#include <limits>

#include "http/transport/header_list.hpp"
#include "http/transport/piece_body.hpp"

namespace nanobox::http::transport {
namespace {

namespace beast = boost::beast;

// Chunk sizes with their extensions, and trailers, are never larger than this.
constexpr std::size_t chunk_line_limit = 16 << 10;

std::string_view view(beast::string_view text) {
  return {text.data(), text.size()};
}

bool is_visible_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

// A request target's path and query: origin form, or absolute form as sent to proxies.
std::optional<std::string_view> origin_form(std::string_view target) {
  if (target.starts_with('/')) return target;
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (lower(target.substr(0, scheme.size())) != scheme) continue;
    const auto slash = target.find('/', scheme.size());
    return slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  return std::nullopt;
}

}  // namespace

struct RequestFramer::Parser {
  beast::http::request_parser<PieceBody> message;
  bool body_begun = false;
};

RequestFramer::RequestFramer(std::size_t header_limit) : header_limit_(header_limit) {}
RequestFramer::~RequestFramer() = default;

void RequestFramer::append(std::string_view bytes) {
  if (used_ == buffer_.size()) {
    buffer_.clear();
    used_ = 0;
  }
  buffer_.append(bytes);
}

void RequestFramer::consume(std::size_t count) {
  used_ += count;
  if (used_ == buffer_.size()) {
    buffer_.clear();
    used_ = 0;
    if (buffer_.capacity() > 4 * chunk_line_limit) buffer_.shrink_to_fit();
  } else if (used_ > buffer_.size() / 2) {
    buffer_.erase(0, used_);
    used_ = 0;
  }
}

RequestFramer::Event RequestFramer::refuse(ErrorCode code, std::string reason, std::string mend) {
  place_ = Place::done;
  error_ = Error{
      .code = code, .attempted = "read request", .subject = {}, .reason = std::move(reason), .mend = std::move(mend)};
  return Event::refused;
}

RequestFramer::Event RequestFramer::next() {
  switch (place_) {
    case Place::between: {
      std::size_t blank = 0;
      while (blank + 1 < buffered() && buffer_.compare(used_ + blank, 2, "\r\n") == 0) blank += 2;
      if (blank > 0) consume(blank);
      if (buffered() == 0 || (buffered() == 1 && buffer_[used_] == '\r')) return Event::need_more;
      parser_ = std::make_unique<Parser>();
      parser_->message.header_limit(static_cast<std::uint32_t>(header_limit_));
      parser_->message.body_limit(std::numeric_limits<std::uint64_t>::max());
      head_ = {};
      place_ = Place::header;
      return read_head();
    }
    case Place::header:
      return read_head();
    case Place::body:
      return read_body();
    case Place::done:
      break;
  }
  return error_.reason.empty() ? Event::need_more : Event::refused;
}

RequestFramer::Event RequestFramer::read_head() {
  while (!parser_->message.is_header_done()) {
    boost::system::error_code wrong;
    const std::size_t taken =
        parser_->message.put(boost::asio::const_buffer(buffer_.data() + used_, buffered()), wrong);
    consume(taken);
    if (wrong == beast::http::error::need_more) {
      if (buffered() > header_limit_)
        wrong = beast::http::error::header_limit;
      else
        return Event::need_more;
    }
    if (wrong == beast::http::error::header_limit)
      return refuse(ErrorCode::headers_too_large,
                    "the header block is larger than " + std::to_string(header_limit_) + " bytes");
    if (wrong) return refuse(ErrorCode::malformed_request, wrong.message());
    if (taken == 0 && !parser_->message.is_header_done()) return Event::need_more;
  }
  return check_head();
}

RequestFramer::Event RequestFramer::check_head() {
  const auto& message = parser_->message.get();
  head_.method = std::string(view(message.method_string()));
  const auto version = message.version();
  if (version != 10 && version != 11)
    return refuse(ErrorCode::malformed_request, "only HTTP/1.0 and HTTP/1.1 are spoken");
  head_.http_1_0 = version == 10;
  const auto whole_target = view(message.target());
  const auto target = origin_form(whole_target);
  if (!target || !is_visible_ascii(whole_target))
    return refuse(ErrorCode::malformed_request, "the request target is no path");
  const auto mark = target->find('?');
  head_.path = std::string(target->substr(0, mark));
  head_.query = mark == std::string_view::npos ? std::string() : std::string(target->substr(mark + 1));

  int hosts = 0;
  int lengths = 0;
  int codings = 0;
  bool plain_length = true;
  bool plain_chunked = true;
  std::vector<std::string> upgrades;
  std::size_t header_count = 0;
  for (const auto& field : message) {
    const auto name = lower(view(field.name_string()));
    const auto value = view(field.value());
    if (++header_count > 200) return refuse(ErrorCode::headers_too_large, "there are more than 200 headers");
    if (name == "host") ++hosts;
    if (name == "content-length") {
      ++lengths;
      plain_length = plain_length && !value.empty() && value.size() < 20 &&
                     std::ranges::all_of(value, [](char c) { return c >= '0' && c <= '9'; });
    }
    if (name == "transfer-encoding") {
      ++codings;
      plain_chunked = plain_chunked && lower(value) == "chunked";
    }
    if (name == "expect") head_.expects_continue = lower(value) == "100-continue";
    if (name == "connection")
      for (const auto option : list_items(value)) head_.connection_options.push_back(lower(option));
    if (name == "upgrade") upgrades.push_back(lower(value));
    if (!is_hop_by_hop(name)) head_.headers.emplace_back(name, std::string(value));
  }
  if (hosts > 1 || (hosts == 0 && !head_.http_1_0))
    return refuse(ErrorCode::malformed_request, "there must be exactly one Host header");
  if (lengths > 1 || !plain_length) return refuse(ErrorCode::malformed_request, "Content-Length is not one number");
  if (codings > 0 && lengths > 0)
    return refuse(ErrorCode::malformed_request, "Content-Length and Transfer-Encoding exclude each other");
  if (codings > 1 || !plain_chunked || (codings > 0 && head_.http_1_0))
    return refuse(ErrorCode::malformed_request, "the only transfer coding understood is 'chunked', once, in HTTP/1.1");
  head_.keep_alive = parser_->message.keep_alive();
  if (const auto length = parser_->message.content_length()) head_.content_length = *length;
  head_.has_body = codings > 0 || head_.content_length.value_or(0) > 0;
  if (!head_.http_1_0 && upgrades.size() == 1 &&
      std::ranges::find(head_.connection_options, "upgrade") != head_.connection_options.end())
    head_.upgrade = std::move(upgrades.front());
  place_ = Place::body;
  body_limit_ = 0;
  body_taken_ = 0;
  return Event::head;
}

void RequestFramer::accept_body(std::uint64_t limit, bool whole) {
  body_limit_ = limit;
  if (whole) parser_->message.get().body().reserve(std::min(limit, head_.content_length.value_or(0)));
  parser_->message.body_limit(limit);
}

RequestFramer::Event RequestFramer::read_body() {
  const auto too_large = [&] {
    return refuse(ErrorCode::body_too_large, "the body is larger than " + std::to_string(body_limit_) + " bytes");
  };
  if (head_.content_length.value_or(0) > body_limit_) return too_large();
  parser_->message.eager(true);
  while (!parser_->message.is_done()) {
    if (buffered() == 0) return Event::need_more;
    boost::system::error_code wrong;
    const std::size_t taken =
        parser_->message.put(boost::asio::const_buffer(buffer_.data() + used_, buffered()), wrong);
    consume(taken);
    if (wrong == beast::http::error::need_more) {
      if (buffered() > chunk_line_limit)
        return refuse(ErrorCode::malformed_request, "a chunk's first line is too long");
      return Event::need_more;
    }
    if (wrong == beast::http::error::body_limit) return too_large();
    if (wrong) return refuse(ErrorCode::malformed_request, wrong.message());
    if (body_bytes() > body_limit_) return too_large();
    if (taken == 0) return Event::need_more;
  }
  place_ = Place::done;
  return Event::complete;
}

std::uint64_t RequestFramer::body_bytes() const {
  return parser_ ? body_taken_ + parser_->message.get().body().size() : 0;
}

std::string RequestFramer::take_body() {
  if (!parser_) return {};
  auto body = std::exchange(parser_->message.get().body(), {});
  body_taken_ += body.size();
  return body;
}

std::string RequestFramer::take_rest() {
  auto rest = buffer_.substr(used_);
  buffer_.clear();
  used_ = 0;
  return rest;
}

void RequestFramer::restart() {
  parser_.reset();
  head_ = {};
  error_ = {};
  place_ = Place::between;
}

}  // namespace nanobox::http::transport
