// Watches a socket by libuv's poll. Level-triggered: READABLE is off only once something has come while reading is paused,
// WRITABLE is on only while the kernel is full, and DISCONNECT tells of a peer that is gone while reading is paused.
#pragma once

#include <uv.h>

#include "proxy/base/handle.h"
#include "proxy/net/socket_watch.h"

namespace pgveil::proxy {

class PollWatch final : public SocketWatch {
 public:
  // `client` must outlive the watch. `poll`: of the socket, not started.
  PollWatch(Handle<uv_poll_t> poll, Client& client);

  void set_interest(const Interest& interest) override;

 private:
  static void on_poll(uv_poll_t* poll, int status, int events);

  Client& client_;
  Handle<uv_poll_t> poll_;
  int watched_events_ = 0;
  bool wants_bytes_ = false;
  bool has_unwanted_ = false;  // something has come while reading was paused
};

}  // namespace pgveil::proxy
