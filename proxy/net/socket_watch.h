// Reports the events of a socket to a SocketStream. There are two implementations: PollWatch uses libuv's poll.
// RingWatch uses io_uring, and also receives and sends small messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "proxy/net/stream.h"

namespace pgveil::proxy {

class SocketWatch {
 public:
  // Receives the events. The loop calls these functions; no public function of the watch calls them. They may destroy
  // the watch.
  class Client {
   public:
    // Reports bytes, or the end of the peer's side, and that there is no other event.
    virtual void on_readable() = 0;
    struct Events {
      bool readable = false;
      bool room = false;    // a send does not block: the kernel accepts bytes, or the send fails
      bool gone = false;    // the peer ended its side or broke the connection while reading was paused
      bool failed = false;  // the connection broke; the next system call on the socket returns the error
      int error = 0;        // if not 0: the connection broke with this error (errno.h)
    };
    virtual void on_events(const Events& events) = 0;
    // Reports that the kernel did not accept `rest`, a part of the bytes that send() was given. `error` is 0 if the
    // socket's send buffer is full; otherwise the connection broke with this error (errno.h).
    virtual void on_unsent(ByteView rest, int error) = 0;
    // Is called after on_unsent(), at a time when the owner of the stream may be woken.
    virtual void on_trouble() = 0;
    [[nodiscard]] virtual bool is_paused() const = 0;

   protected:
    ~Client() = default;
  };

  // The events that the stream waits for. A PollWatch reports an event again while its condition lasts, except for
  // `end`. A RingWatch reports an event once: the stream calls set_interest() again for the next one.
  struct Interest {
    bool bytes = false;    // bytes, or the end of the peer's side
    bool paused = false;   // if `bytes` is false: reading is paused and can be resumed
    bool end = false;      // while reading is paused: the peer is gone
    bool room = false;     // the kernel accepts bytes again
    bool drained = false;  // not an event: the socket probably has no unread bytes
  };

  virtual ~SocketWatch() = default;

  virtual void set_interest(const Interest& interest) = 0;
  // From here on, the socket is readable only if at least `bytes` bytes are unread. The caller has set SO_RCVLOWAT to
  // this number.
  virtual void on_low_watermark(std::size_t /*bytes*/) {}

  // Returns whether the watch receives and sends bytes itself. If so, the stream must call set_interest() after every
  // read, and take(), send() and take_back() have an effect.
  [[nodiscard]] virtual bool moves_bytes() const { return false; }
  struct Taken {
    std::size_t size = 0;
    bool may_have_more = true;  // the socket may hold more bytes, which the caller then reads
  };
  // Moves bytes that the watch has already received to `room`.
  [[nodiscard]] virtual Taken take(std::span<std::uint8_t> /*room*/) { return {}; }
  // Sends the bytes at the end of this turn of the loop. Returns false and does nothing if there are too many bytes.
  [[nodiscard]] virtual bool send(ByteView /*bytes*/) { return false; }
  // Returns the bytes that send() has accepted in this turn. The watch does not send them any more. They are valid
  // until the next send() of any watch.
  [[nodiscard]] virtual ByteView take_back() { return {}; }
};

}  // namespace pgveil::proxy
