// How a SocketStream learns what happens at its socket. There are two classes: PollWatch, by libuv's poll, and RingWatch, by
// io_uring, which also moves small messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "proxy/net/stream.h"

namespace pgveil::proxy {

class SocketWatch {
 public:
  // Gets the events. Its functions are called from the loop, never from within a function of the watch. The watch may be
  // destroyed before they return.
  class Client {
   public:
    // Bytes have come, or an end; and nothing else has happened.
    virtual void on_readable() = 0;
    struct Events {
      bool readable = false;
      bool room = false;    // the kernel takes bytes again, or never will
      bool gone = false;    // the peer has ended its side or broken the connection, while reading was paused
      bool failed = false;  // the connection broke, and the kernel will tell with which error
      int error = 0;        // of errno.h: the connection broke with it
    };
    virtual void on_events(const Events& events) = 0;
    // The kernel did not take `rest` of what send() was given: it is full (0), or the connection broke (errno.h).
    virtual void on_unsent(ByteView rest, int error) = 0;
    // Follows on_unsent(), when the owner of the stream may be woken.
    virtual void on_trouble() = 0;
    [[nodiscard]] virtual bool is_paused() const = 0;

   protected:
    ~Client() = default;
  };

  // What the stream waits for. Events are reported again as long as they last, except for `gone`.
  struct Interest {
    bool bytes = false;    // bytes, or an end
    bool paused = false;   // not now, but later
    bool end = false;      // while it is paused: that the peer is gone
    bool room = false;     // that the kernel takes bytes again
    bool drained = false;  // nothing can have come yet
  };

  virtual ~SocketWatch() = default;

  virtual void set_interest(const Interest& interest) = 0;
  // From here on only so many bytes are an event, as SO_RCVLOWAT says, which the caller has set.
  virtual void on_low_watermark(std::size_t /*bytes*/) {}

  // Whether the watch moves bytes. If so, set_interest() is to be called after every read, and take(), send() and
  // take_back() have an effect.
  [[nodiscard]] virtual bool moves_bytes() const { return false; }
  struct Taken {
    std::size_t size = 0;
    bool may_have_more = true;  // in the socket, which the caller reads then
  };
  // Moves to `room` what the watch has already received.
  [[nodiscard]] virtual Taken take(std::span<std::uint8_t> /*room*/) { return {}; }
  // Sends at the end of this turn of the loop. False: there are too many bytes, and nothing was done.
  [[nodiscard]] virtual bool send(ByteView /*bytes*/) { return false; }
  // Returns what send() has taken in this turn: it is no longer sent. Valid until the next send() of any watch.
  [[nodiscard]] virtual ByteView take_back() { return {}; }
};

}  // namespace pgveil::proxy
