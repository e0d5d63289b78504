// Moves the bytes of established sessions by io_uring. What comes for any of them is taken into buffers that
// all share, without a recv() each; what they send within one turn of the loop goes to the kernel in one
// call. Belongs to one loop and to the thread that runs it. Only waiting and small messages are its business:
// in bulk it says when there is something and when there is room, as recv() and send() of as much as there is
// cost no more.
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
  // What one receive takes, and what send() is for, at the most.
  static constexpr std::size_t kMostBytes = 16'384;

  class Client;
  class Port;

  // Asks the kernel whether it allows everything that is needed, by doing it; otherwise returns what failed.
  [[nodiscard]] static tl::expected<std::unique_ptr<Ring>, std::string> open();
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // Takes the place of uv_run(loop, UV_RUN_ONCE): lets libuv deal with what has happened, waits until
  // something happens to it or at a port, and lets the ports' clients deal with that. False: there is nothing
  // left on the loop. The ring belongs to the thread and the loop of the first call.
  [[nodiscard]] bool run_once(uv_loop_t* loop);

 private:
  enum class Kind : std::uint8_t { loop, receive, notice, room, gone, send, again, cancel };
  struct Place {
    Port* port = nullptr;
    std::uint32_t generation = 0;  // told from that of an earlier port, whose answers may still come
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
  std::unique_ptr<std::uint8_t[]> buffers_;    // for what comes
  std::unique_ptr<std::uint8_t[]> outgoing_;   // what is sent at the end of this turn
  std::size_t outgoing_size_ = 0;
  std::vector<Place> places_;
  std::vector<std::uint32_t> vacant_;  // of places_
  std::vector<Port*> sending_;
  std::vector<Port*> wanting_;           // of whom something is to begin with the next submission
  std::vector<std::uint64_t> troubled_;  // whose sends have failed, to be told so
  int loop_descriptor_ = -1;             // -1: not enabled yet
  bool loop_watched_ = false;
  bool loop_ready_ = false;
};

// Who holds a port. Both calls come from the loop, like those of libuv.
class Ring::Client {
 public:
  // There is something to take, or a number of errno.h tells why not (0: unknown).
  virtual void on_received(int error) = 0;
  // The kernel takes bytes again, or will never.
  virtual void on_room() = 0;
  // The peer has ended or broken the connection.
  virtual void on_gone() = 0;
  // The kernel did not take `rest` of what was sent: it is full (0), or the connection broke.
  virtual void on_unsent(ByteView rest, int error) = 0;
  // Follows on_unsent(): time to wake whoever waits for the client.
  virtual void on_trouble() = 0;

 protected:
  ~Client() = default;
};

// A socket's place at the ring. It may be destroyed at any time, and the socket closed after it.
class Ring::Port {
 public:
  // Both must outlive the port. `descriptor`: a non-blocking stream socket.
  Port(Ring& ring, int descriptor, Client& client);
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  // A receive is under way: nobody else may read the socket, or the order would be lost.
  [[nodiscard]] bool receiving() const { return receiving_; }
  // Begins a receive at the end of this turn, unless there is something to take: then the client is told
  // again. `drained`: nothing can be there yet.
  void want(bool drained);
  void want_nothing() { wanted_ = false; }
  // Tells the client, once, when the kernel takes bytes again.
  void want_room();
  // Tells the client, once, when the peer is gone, also where nobody wants to read.
  void watch_for_end();
  // Whether want() leaves what comes in the socket, and only tells the client: once SO_RCVLOWAT bytes are
  // there.
  void leave_in_socket(bool leave) { leaves_in_socket_ = leave; }

  struct Taken {
    std::size_t size;
    bool has_filled;  // all that one receive takes has come: there may be more in the socket
  };
  // Moves what has come to `room`. Once everything is taken, the ring's buffer is free for others.
  [[nodiscard]] Taken take(std::span<std::uint8_t> room);

  // Sends at the end of this turn. False, and nothing is done: there are too many bytes, for it alone or for
  // all.
  [[nodiscard]] bool send(ByteView bytes) { return ring_.append(*this, bytes); }
  // What send() has taken in this turn is the caller's again. Valid until anybody's next send().
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
  bool leaves_in_socket_ = false;
  bool wanted_ = false;
  bool room_wanted_ = false;
  bool end_wanted_ = false;
  bool drained_ = false;
  bool is_listed_ = false;  // among those that want
  bool has_filled_ = false;
  std::uint16_t buffer_ = 0;
  std::uint32_t taken_ = 0;     // of buffer_
  std::uint32_t received_ = 0;  // in buffer_; 0: has none
  std::size_t outgoing_begin_ = 0;
  std::size_t outgoing_size_ = 0;  // 0: sends nothing in this turn
};

}  // namespace pgveil::proxy
