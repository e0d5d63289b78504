// Watches a socket with io_uring, without a system call for each event. Small messages of all sockets are sent
// together.
#pragma once

#include "proxy/net/io_uring.h"
#include "proxy/net/socket_watch.h"

namespace pgveil::proxy {

class RingWatch final : public SocketWatch, private Ring::Client {
 public:
  // `ring` and `client` must outlive the watch. `descriptor`: a non-blocking stream socket.
  RingWatch(Ring& ring, int descriptor, SocketWatch::Client& client)
      : client_(client), port_(ring, descriptor, static_cast<Ring::Client&>(*this)) {}

  void set_interest(const Interest& interest) override;
  void on_low_watermark(std::size_t bytes) override { port_.wait_for_low_watermark(bytes > 1); }

  [[nodiscard]] bool moves_bytes() const override { return true; }
  [[nodiscard]] Taken take(std::span<std::uint8_t> room) override;
  [[nodiscard]] bool send(ByteView bytes) override { return port_.send(bytes); }
  [[nodiscard]] ByteView take_back() override { return port_.take_back(); }

 private:
  void on_received(int error) override;
  void on_room() override { client_.on_events({.room = true}); }
  void on_gone() override;
  void on_unsent(ByteView rest, int error) override { client_.on_unsent(rest, error); }
  void on_trouble() override { client_.on_trouble(); }

  SocketWatch::Client& client_;
  Ring::Port port_;
};

}  // namespace pgveil::proxy
