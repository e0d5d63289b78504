// HTTP/1.1 requests from bytes, and responses as bytes. Does no I/O. Boost.Beast parses and formats (decision 24).
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgveil::proxy {

struct HttpRequest {
  std::string method;               // "GET"
  std::string path;                 // without the query
  std::string query = {};           // after the "?"; empty: none
  std::string host = {};            // the header field Host; empty: not sent
  std::string accept = {};          // the header field Accept; empty: not sent
  std::string origin = {};          // the header field Origin
  std::string sec_fetch_site = {};  // the header field Sec-Fetch-Site
  // Whether the connection stays open for another request (RFC 9112 section 9.3). Not if bytes of it have arrived already.
  bool keeps_open = false;
};

// Returns the value of a parameter of the query, as it is written there; nullopt: it is not there.
[[nodiscard]] std::optional<std::string> query_value(const HttpRequest& request, std::string_view name);

struct HttpResponse {
  int status = 200;
  std::string body = {};
  std::string content_type = "text/plain; charset=utf-8";
  std::vector<std::pair<std::string, std::string>> fields = {};  // further header fields, by name
};

// Takes the bytes of requests as they arrive, one request after the other.
class HttpRequestReader {
 public:
  static constexpr std::size_t kMaxHead = std::size_t{8} << 10U;
  static constexpr std::size_t kMaxBody = std::size_t{1} << 10U;

  HttpRequestReader();
  ~HttpRequestReader();
  HttpRequestReader(const HttpRequestReader&) = delete;
  HttpRequestReader& operator=(const HttpRequestReader&) = delete;

  enum class State {
    incomplete,
    complete,
    refused,  // not HTTP, larger than the limits, or with a body in chunks, whose head has no limit
  };
  // Bytes after the end of the request are ignored.
  [[nodiscard]] State add(std::string_view bytes);
  // Returns the request, which must be complete, and begins the next one.
  [[nodiscard]] HttpRequest release();

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

struct HttpWriting {
  bool is_for_head = false;  // without the body
  bool keeps_open = false;   // otherwise the response says that the connection will be closed after it
};
[[nodiscard]] std::string bytes_of(const HttpResponse& response, HttpWriting how);
// Returns the response that `bytes` are, up to the end of the connection; nullopt: they are not one.
[[nodiscard]] std::optional<HttpResponse> response_of(std::string_view bytes);

}  // namespace pgveil::proxy
