// A stream on a non-blocking TCP or Unix socket. The stream calls recv() and send() itself. A SocketWatch reports the
// events of the socket; with io_uring, the SocketWatch also receives and sends small messages.
#pragma once

#include <uv.h>

#include <memory>
#include <tl/expected.hpp>
#include <vector>

#include "proxy/base/descriptor.h"
#include "proxy/base/handle.h"
#include "proxy/net/socket_watch.h"
#include "proxy/net/stream.h"

namespace pgveil::proxy {

// A non-blocking socket and its libuv poll handle, which is not started. libuv makes four system calls to create the
// handle, so the handle is passed on with the socket.
struct WatchedSocket {
  Descriptor descriptor;
  Handle<uv_poll_t> poll;
};
// Creates the poll handle of a socket. If the kernel cannot watch the socket, closes the socket and returns the error
// (errno.h). The kernel limits the number of watched descriptors (/proc/sys/fs/epoll/max_user_watches).
[[nodiscard]] tl::expected<WatchedSocket, int> watch_socket(uv_loop_t* loop, Descriptor descriptor);

class SocketStream final : public Stream, private SocketWatch::Client {
 public:
  // Wakes `owner`, which must outlive the stream. `readable`: bytes may have arrived already.
  SocketStream(WatchedSocket socket, Wakeable& owner, bool readable);
  // For tests and measurements: owns `descriptor`, which must be non-blocking. Throws if the kernel cannot watch it.
  SocketStream(uv_loop_t* loop, int descriptor, Wakeable& owner)
      : SocketStream(watch_socket(loop, Descriptor(descriptor)).value(), owner, true) {}
  ~SocketStream() override;
  SocketStream(const SocketStream&) = delete;
  SocketStream& operator=(const SocketStream&) = delete;

  [[nodiscard]] Read read(Scratch& scratch, std::size_t most) override;
  [[nodiscard]] bool readable() const override { return readable_ || status_ != Status::blocked; }
  void write(Scratch& scratch, ByteView bytes) override;
  // With io_uring, bytes that go to the kernel at the end of this turn of the loop count as sent.
  [[nodiscard]] std::size_t unwritten() const override { return unsent_.size() - sent_; }
  void pause_reading() override;
  void resume_reading() override;
  void wake_at(std::size_t bytes) override;
  [[nodiscard]] bool write_broken() const override { return write_broken_; }
  void look_for_break() override;
  void finish(Scratch& scratch, Finish how) override;
  void move_to(Ring& ring) override;
  [[nodiscard]] WireBytes wire_bytes() const override { return wire_bytes_; }
  [[nodiscard]] KernelAddress local_address() const override { return bound_address(descriptor_); }
  [[nodiscard]] std::string error() const override;

  // Returns whether the peer has ended its side or broken the connection, as seen while reading was paused or by a read. For
  // tests.
  [[nodiscard]] bool peer_gone() const { return peer_gone_ || status_ != Status::blocked; }
  [[nodiscard]] int descriptor() const { return descriptor_; }
  // Changes the owner that is woken, for example when a session takes over a verified connection.
  void set_owner(Wakeable& owner) { owner_ = &owner; }

 private:
  void on_readable() override;
  void on_events(const Events& events) override;
  void on_unsent(ByteView rest, int error) override;
  void on_trouble() override { owner_->wake(); }
  [[nodiscard]] bool is_paused() const override { return paused_; }
  [[nodiscard]] bool wants_bytes() const { return status_ == Status::blocked && !paused_; }
  void note_broken();
  void note_end_while_paused();
  void note_error(int error);
  void give_up_writing();
  void note_out_of_memory();
  void note_failed_poll();
  void watch();
  [[nodiscard]] Read receive(std::span<std::uint8_t> room);
  void send_or_keep(ByteView bytes);
  [[nodiscard]] std::size_t send_now(ByteView bytes);
  void flush();

  std::unique_ptr<SocketWatch> watch_;  // made first: on failure, `socket` still owns the descriptor
  int descriptor_;
  Wakeable* owner_;
  std::vector<std::uint8_t> unsent_;
  std::size_t sent_ = 0;  // how many bytes of unsent_ are sent
  WireBytes wire_bytes_;
  int errno_ = 0;                    // why the connection broke; read() reports it after all received bytes
  Status status_ = Status::blocked;  // `ended` and `failed` are final
  bool readable_;                    // bytes may have arrived
  bool watch_moves_bytes_ = false;   // watch_->moves_bytes()
  bool paused_ = false;
  bool peer_gone_ = false;
  bool finishing_ = false;
  bool write_broken_ = false;
};

}  // namespace pgveil::proxy
