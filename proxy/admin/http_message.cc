#include "proxy/admin/http_message.h"

#include <algorithm>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <sstream>
#include <utility>

namespace pgveil::proxy {

namespace beast = boost::beast;
namespace http = beast::http;

// A part of `bytes` that is not used yet is kept: Beast wants each line of the head in one piece.
struct HttpRequestReader::Parser {
  http::request_parser<http::string_body> parser;
  std::string unused;

  Parser() {
    parser.header_limit(kMaxHead);
    parser.body_limit(kMaxBody);
  }
};

HttpRequestReader::HttpRequestReader() : parser_(std::make_unique<Parser>()) {}
HttpRequestReader::~HttpRequestReader() = default;

HttpRequestReader::State HttpRequestReader::add(std::string_view bytes) {
  auto& [parser, unused] = *parser_;
  unused.append(bytes);
  while (!parser.is_done() && !unused.empty()) {
    beast::error_code error;
    // The head by itself: what follows it depends on it.
    parser.eager(parser.is_header_done());
    const std::size_t used = parser.put(boost::asio::buffer(unused), error);
    unused.erase(0, used);
    if (parser.is_header_done() && parser.chunked()) return State::refused;
    if (error == http::error::need_more) return State::incomplete;
    if (error) return State::refused;
  }
  return parser.is_done() ? State::complete : State::incomplete;
}

HttpRequest HttpRequestReader::release() {
  constexpr unsigned kHttp11 = 11;
  const auto message = parser_->parser.release();
  const bool has_more = !std::exchange(parser_, std::make_unique<Parser>())->unused.empty();
  const auto text = [](beast::string_view view) { return std::string(view.data(), view.size()); };
  const std::string target = text(message.target());
  const std::size_t path_end = std::min(target.find('?'), target.size());
  return {.method = text(message.method_string()),
          .path = target.substr(0, path_end),
          .query = target.substr(std::min(path_end + 1, target.size())),
          .host = text(message[http::field::host]),
          .accept = text(message[http::field::accept]),
          .origin = text(message[http::field::origin]),
          .sec_fetch_site = text(message["Sec-Fetch-Site"]),
          .keeps_open = message.version() == kHttp11 && message.keep_alive() && !has_more};
}

std::optional<std::string> query_value(const HttpRequest& request, std::string_view name) {
  std::string_view rest = request.query;
  while (!rest.empty()) {
    const std::string_view parameter = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(parameter.size() + 1, rest.size()));
    const std::size_t equals = std::min(parameter.find('='), parameter.size());
    if (parameter.substr(0, equals) == name)
      return std::string(parameter.substr(std::min(equals + 1, parameter.size())));
  }
  return std::nullopt;
}

std::string bytes_of(const HttpResponse& response, HttpWriting how) {
  constexpr unsigned kHttp11 = 11;
  http::response<http::empty_body> message(static_cast<http::status>(response.status), kHttp11);
  message.set(http::field::content_type, response.content_type);
  message.set(http::field::cache_control, "no-store");
  message.set("X-Content-Type-Options", "nosniff");
  message.set("Cross-Origin-Resource-Policy", "same-origin");
  for (const auto& [name, value] : response.fields) message.set(name, value);
  if (!how.keeps_open) message.set(http::field::connection, "close");
  message.content_length(response.body.size());
  std::ostringstream head;
  head << message.base();
  std::string bytes = std::move(head).str();
  if (!how.is_for_head) bytes += response.body;
  return bytes;
}

std::optional<HttpResponse> response_of(std::string_view bytes) {
  if (bytes.empty()) return std::nullopt;
  http::response_parser<http::string_body> parser;
  parser.eager(true);
  parser.body_limit(bytes.size());
  beast::error_code error;
  parser.put(boost::asio::buffer(bytes.data(), bytes.size()), error);
  if (error && error != http::error::need_more) return std::nullopt;
  if (!parser.is_done()) parser.put_eof(error);
  if (!parser.is_done()) return std::nullopt;
  const auto message = parser.release();
  const auto type = message[http::field::content_type];
  return HttpResponse{.status = static_cast<int>(message.result_int()),
                      .body = message.body(),
                      .content_type = std::string(type.data(), type.size())};
}

}  // namespace pgveil::proxy
