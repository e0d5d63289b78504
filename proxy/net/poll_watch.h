// Watches a socket with libuv's poll, which is level-triggered. READABLE is switched off only after bytes or an end
// arrived while reading was paused. WRITABLE is on only while the stream has unsent bytes. DISCONNECT reports that
// the peer is gone while reading is paused.
#pragma once

#include <uv.h>

#include "proxy/base/handle.h"
#include "proxy/net/socket_watch.h"

namespace pgveil::proxy {

class PollWatch final : public SocketWatch {
 public:
  // `client` must outlive the watch. `poll`: the handle of the socket, not started.
  PollWatch(Handle<uv_poll_t> poll, Client& client);

  void set_interest(const Interest& interest) override;

 private:
  static void on_poll(uv_poll_t* poll, int status, int events);

  Client& client_;
  Handle<uv_poll_t> poll_;
  int watched_events_ = 0;
  bool wants_bytes_ = false;
  bool has_unwanted_ = false;  // bytes or an end arrived while reading was paused
};

}  // namespace pgveil::proxy
