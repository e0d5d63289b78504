// One connection to the admin address: reads a request, sends the response, and waits for the next request if the client
// keeps the connection open. It runs in the loop of the admin thread, never waits, and has a fixed time and memory for each
// request.
#pragma once

#include <uv.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>

#include "proxy/admin/http_message.h"
#include "proxy/base/deadline.h"
#include "proxy/base/descriptor.h"
#include "proxy/base/handle.h"

namespace pgveil::proxy {

class HttpConnection final : private Wakeable {
 public:
  struct Times {
    // From accept, or from the first byte of a later request, to the last byte of the response.
    std::chrono::milliseconds request{10'000};
    // From a response to the next request. Prometheus scrapes every minute by default, and keeps its connections.
    std::chrono::milliseconds idle{75'000};
  };

  struct Callbacks {
    std::function<HttpResponse(const HttpRequest&)> answer;
    // Is called once, when the connection is over. It must not destroy the connection at once.
    std::function<void()> on_over;
  };
  // `client`: accepted, non-blocking. Call advance() once after the construction.
  HttpConnection(uv_loop_t* loop, Descriptor client, Times max_times, Callbacks callbacks);
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  // Reads and writes what is possible now.
  void advance();

 private:
  enum class Phase {
    request,   // until a whole request has arrived
    response,  // until the kernel has taken the whole response
    end,       // until the client closes; a close() with unread bytes could lose the response
    over,
  };

  void wake() override { finish(); }  // the time has passed
  [[nodiscard]] Phase step();
  [[nodiscard]] Phase read_request();
  [[nodiscard]] Phase write_response();
  [[nodiscard]] Phase discard();
  void watch();
  void finish();

  Descriptor descriptor_;
  const Times max_times_;
  Callbacks callbacks_;
  Handle<uv_poll_t> poll_;
  Deadline deadline_;
  Phase phase_ = Phase::request;
  HttpRequestReader request_;
  std::string response_;
  std::size_t written_ = 0;  // of response_
  bool keeps_open_ = false;  // after response_
  bool is_idle_ = false;     // a request was answered, and no byte of the next one has arrived
};

}  // namespace pgveil::proxy
