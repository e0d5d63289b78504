// Receives and sends the bytes of established sessions with io_uring. All sessions share the receive buffers, so that
// a small message does not cost a recv() call. All bytes that the sessions send within one turn of the loop go to the
// kernel in one system call. A ring belongs to one loop and to the thread that runs it. For bulk transfers, the ring
// only reports when a socket is readable or writable: recv() and send() of many bytes cost no more than io_uring.
#pragma once

#include <liburing.h>
#include <uv.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "proxy/net/stream.h"

namespace pgveil::proxy {

class Ring {
 public:
  // The maximum size of one receive, and of the bytes that one port sends in one turn of the loop.
  static constexpr std::size_t kMaxBytes = 16'384;

  class Client;
  class Port;

  // Checks that the kernel permits everything that the ring needs, by doing it. On error, returns what failed.
  [[nodiscard]] static tl::expected<std::unique_ptr<Ring>, std::string> open();
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // Replaces uv_run(loop, UV_RUN_ONCE): lets libuv call the callbacks that are due, waits for an event of libuv or of
  // a port, and calls the clients of the ports that have events. Returns false if nothing is left on the loop. The
  // ring belongs to the thread and the loop of the first call.
  [[nodiscard]] bool run_once(uv_loop_t* loop);

 private:
  enum class Kind : std::uint8_t { loop, receive, notice, room, gone, send, again, cancel };
  struct Place {
    Port* port = nullptr;
    std::uint32_t generation = 0;  // differs from that of an earlier port, whose completions may still arrive
  };

  Ring() = default;
  [[nodiscard]] std::string set_up(unsigned flags);
  [[nodiscard]] std::string try_out();
  void enable(uv_loop_t* loop);
  [[nodiscard]] std::uint64_t enter(Port& port);
  void leave(Port& port);
  void cancel(Kind kind, std::uint64_t name);
  [[nodiscard]] Port* port_of(std::uint64_t name) const;
  [[nodiscard]] bool append(Port& port, ByteView bytes);

  void take_turn(uv_loop_t* loop);
  void hand_over(uv_loop_t* loop, int timeout);
  void begin_sends();
  void begin_waiting();
  void begin_receive(Port& port);
  void begin_poll(Port& port, Kind kind, unsigned events);
  void submit(int timeout);
  void take_unsent();
  void take_answers();
  void take_received(Port& port, const io_uring_cqe& answer);
  void give_back(std::uint16_t buffer);
  [[nodiscard]] io_uring_sqe* request(Kind kind, std::uint64_t name);

  io_uring ring_{};
  bool is_set_up_ = false;
  io_uring_buf_ring* free_buffers_ = nullptr;  // shared with the kernel
  std::unique_ptr<std::uint8_t[]> buffers_;    // for received bytes
  std::unique_ptr<std::uint8_t[]> outgoing_;   // bytes to send at the end of this turn
  std::size_t outgoing_size_ = 0;
  std::vector<Place> places_;
  std::vector<std::uint32_t> vacant_;  // indexes of unused places_
  std::vector<Port*> sending_;
  std::vector<Port*> wanting_;           // ports that need a request in the next submission
  std::vector<std::uint64_t> troubled_;  // names of ports whose sends failed, for on_trouble()
  int loop_descriptor_ = -1;             // -1: not enabled yet
  bool loop_watched_ = false;
  bool loop_ready_ = false;
};

// The owner of a port. The loop calls these functions, as it calls libuv's callbacks.
class Ring::Client {
 public:
  // Reports that there may be bytes or an end, in the port or in the socket (`error` is 0), or that the connection
  // broke with `error` (errno.h).
  virtual void on_received(int error) = 0;
  // Reports that a send does not block: the kernel accepts bytes, or the send fails.
  virtual void on_room() = 0;
  // Reports that the peer has ended its side or broken the connection.
  virtual void on_gone() = 0;
  // Reports that the kernel did not accept `rest`, a part of the bytes of send(). `error` is 0 if the socket's send
  // buffer is full; otherwise the connection broke with this error (errno.h).
  virtual void on_unsent(ByteView rest, int error) = 0;
  // Is called after on_unsent(), at a time when the client may wake its owner.
  virtual void on_trouble() = 0;

 protected:
  ~Client() = default;
};

// The registration of a socket at the ring. The port may be destroyed at any time; the socket is closed after that.
class Ring::Port {
 public:
  // `ring` and `client` must outlive the port. `descriptor`: a non-blocking stream socket.
  Port(Ring& ring, int descriptor, Client& client);
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  // Returns whether a receive is under way. If so, other code must not read the socket, because the order of the
  // bytes would be lost.
  [[nodiscard]] bool receiving() const { return receiving_; }
  // Begins a receive at the end of this turn. If the port already holds received bytes, calls on_received() again
  // instead. `drained`: the socket probably has no unread bytes.
  void want(bool drained);
  void want_nothing() { wanted_ = false; }
  // Calls on_room() once, when the kernel accepts bytes again.
  void want_room();
  // Calls on_gone() once, when the peer is gone, even if want() was not called.
  void watch_for_end();
  // If `wait` is true, want() leaves the bytes in the socket, and calls on_received() when at least SO_RCVLOWAT bytes have
  // arrived.
  void wait_for_low_watermark(bool wait) { waits_for_low_watermark_ = wait; }

  struct Taken {
    std::size_t size;
    bool has_filled;  // there may be more bytes, in the port or in the socket
  };
  // Moves received bytes to `room`. After the last byte, other ports may use the buffer.
  [[nodiscard]] Taken take(std::span<std::uint8_t> room);

  // Sends the bytes at the end of this turn. Returns false and does nothing if the bytes are too many for this port,
  // or for all ports together.
  [[nodiscard]] bool send(ByteView bytes) { return ring_.append(*this, bytes); }
  // Returns the bytes that send() has accepted in this turn, and does not send them. They are valid until the next
  // send() of any port.
  [[nodiscard]] ByteView take_back();

 private:
  friend class Ring;

  void list();

  Ring& ring_;
  const int descriptor_;
  Client& client_;
  const std::uint64_t name_;
  bool receiving_ = false;
  bool awaiting_notice_ = false;
  bool awaiting_room_ = false;
  bool awaiting_end_ = false;
  bool waits_for_low_watermark_ = false;
  bool wanted_ = false;
  bool room_wanted_ = false;
  bool end_wanted_ = false;
  bool drained_ = false;
  bool is_listed_ = false;  // in Ring::wanting_
  bool has_filled_ = false;
  std::uint16_t buffer_ = 0;
  std::uint32_t taken_ = 0;     // bytes of buffer_ that take() has moved
  std::uint32_t received_ = 0;  // bytes in buffer_; 0: the port has no buffer
  std::size_t outgoing_begin_ = 0;
  std::size_t outgoing_size_ = 0;  // 0: the port sends nothing in this turn
};

}  // namespace pgveil::proxy
