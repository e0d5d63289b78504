#include "proxy/net/ring_watch.h"

namespace pgveil::proxy {

void RingWatch::set_interest(const Interest& interest) {
  if (interest.bytes) {
    port_.want(interest.drained);
  } else {
    port_.want_nothing();
    if (interest.paused && interest.end) port_.watch_for_end();
  }
  if (interest.room) port_.want_room();
}

// While a receive is under way, the stream must not read the socket. If the receive filled its buffer, or the ring
// has no bytes, the socket may hold more.
SocketWatch::Taken RingWatch::take(std::span<std::uint8_t> room) {
  if (port_.receiving()) return {.size = 0, .may_have_more = false};
  const auto taken = port_.take(room);
  return {.size = taken.size, .may_have_more = taken.size == 0 || taken.has_filled};
}

void RingWatch::on_received(int error) {
  if (error == 0) return client_.on_readable();
  client_.on_events({.readable = true, .error = error});
}

// If reading is not paused, read() finds the end after the bytes that arrived before it: a client that has ended its
// side may still be waiting for an answer.
void RingWatch::on_gone() {
  if (client_.is_paused()) client_.on_events({.gone = true});
}

}  // namespace pgveil::proxy
