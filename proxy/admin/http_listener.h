// The listening sockets of the admin address, and the connections that they have accepted.
#pragma once

#include <uv.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "proxy/admin/http_connection.h"
#include "proxy/base/deadline.h"
#include "proxy/base/descriptor.h"
#include "proxy/base/handle.h"

namespace pgveil::proxy {

class HttpListener final : private Wakeable {
 public:
  // The largest number of connections. One more closes the oldest one, so that clients that send nothing keep nobody out.
  static constexpr std::size_t kMaxConnections = 128;

  // `sockets`: listening and non-blocking.
  HttpListener(uv_loop_t* loop, std::vector<Descriptor> sockets,
               std::function<HttpResponse(const HttpRequest&)> answer, HttpConnection::Times max_times = {});
  HttpListener(const HttpListener&) = delete;
  HttpListener& operator=(const HttpListener&) = delete;

  [[nodiscard]] std::size_t connections() const { return connections_.size(); }

 private:
  struct Socket {
    Descriptor descriptor;
    Handle<uv_poll_t> poll;
  };

  void wake() override;  // after a pause
  void accept_some(const Socket& socket);
  // Makes a descriptor free. Returns false if there is none to give up.
  [[nodiscard]] bool give_up_descriptor();
  void serve(Descriptor client);
  void close_later(std::uint64_t number);
  void pause();
  void watch();

  uv_loop_t* loop_;
  const std::function<HttpResponse(const HttpRequest&)> answer_;
  const HttpConnection::Times max_times_;
  std::vector<Socket> sockets_;
  Deadline pause_;  // set while the process has no descriptors or no memory
  // Given up when the process has no other descriptor, so that probes and scrapes are answered then, too.
  Descriptor reserve_;
  std::map<std::uint64_t, std::unique_ptr<HttpConnection>>
      connections_;  // in the order in which they were accepted
  std::uint64_t last_number_ = 0;
  std::vector<std::uint64_t> over_;  // destroyed in the next turn of the loop
  Handle<uv_idle_t> reaper_;
};

}  // namespace pgveil::proxy
