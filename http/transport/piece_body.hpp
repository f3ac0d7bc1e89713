#pragma once

#define BOOST_ERROR_CODE_HEADER_ONLY
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <cstdint>
#include <string>

namespace nanobox::http::transport {

/// A body for Boost.Beast's parsers, kept as a string that may be taken away piece by piece. Unlike Beast's
/// string_body it does not reserve what a Content-Length promises.
struct PieceBody {
  using value_type = std::string;

  class reader {
  public:
    template <bool is_request, class Fields>
    reader(boost::beast::http::header<is_request, Fields>&, value_type& body) : body_(body) {}

    void init(const boost::optional<std::uint64_t>&, boost::system::error_code& wrong) { wrong = {}; }
    template <class Buffers>
    std::size_t put(const Buffers& buffers, boost::system::error_code& wrong) {
      std::size_t count = 0;
      for (auto at = boost::asio::buffer_sequence_begin(buffers); at != boost::asio::buffer_sequence_end(buffers);
           ++at) {
        const boost::asio::const_buffer piece = *at;
        body_.append(static_cast<const char*>(piece.data()), piece.size());
        count += piece.size();
      }
      wrong = {};
      return count;
    }
    void finish(boost::system::error_code& wrong) { wrong = {}; }

  private:
    value_type& body_;
  };
};

}  // namespace nanobox::http::transport
