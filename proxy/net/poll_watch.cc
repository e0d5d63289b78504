#include "proxy/net/poll_watch.h"

#include <utility>

namespace pgveil::proxy {

PollWatch::PollWatch(Handle<uv_poll_t> poll, Client& client) : client_(client), poll_(std::move(poll)) {
  poll_->data = this;
}

// DISCONNECT is level-triggered, too, so it is not requested again after it was reported. When reading is paused,
// READABLE stays on until bytes or an end arrive: a change of the events costs two system calls, and many pauses end
// before anything arrives.
void PollWatch::set_interest(const Interest& interest) {
  int events = 0;
  wants_bytes_ = interest.bytes;
  if (interest.bytes) {
    events = UV_READABLE;
    has_unwanted_ = false;
  } else if (interest.paused) {
    const bool stays = (watched_events_ & UV_READABLE) != 0 && !has_unwanted_;
    if (stays || interest.end) events = stays ? UV_READABLE : UV_DISCONNECT;
  }
  if (interest.room) events |= UV_WRITABLE;
  if (events == watched_events_) return;
  watched_events_ = events;
  if (events == 0) {
    uv_poll_stop(poll_.get());
  } else {
    uv_poll_start(poll_.get(), events, on_poll);
  }
}

void PollWatch::on_poll(uv_poll_t* poll, int status, int events) {
  auto& self = *static_cast<PollWatch*>(poll->data);
  if ((events & UV_READABLE) != 0) self.has_unwanted_ = !self.wants_bytes_;
  if (status == 0 && events == UV_READABLE) return self.client_.on_readable();  // the most frequent case
  if (status < 0) self.watched_events_ = 0;  // EPOLLERR: libuv has stopped the handle
  self.client_.on_events({.readable = (events & UV_READABLE) != 0,
                          .room = (events & UV_WRITABLE) != 0,
                          .gone = (events & UV_DISCONNECT) != 0,
                          .failed = status < 0});
}

}  // namespace pgveil::proxy
