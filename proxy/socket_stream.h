// A stream on a non-blocking socket, TCP or Unix alike: our own recv() and send(), with uv_poll telling when.
// Level-triggered: READABLE is off only while reading is paused, WRITABLE on only while the kernel is full,
// and DISCONNECT tells of a peer that is gone while reading is paused.
#pragma once

#include <uv.h>

#include "proxy/handle.h"
#include "proxy/stream.h"

namespace pgveil::proxy {

class SocketStream final : public Stream {
 public:
  // Owns `descriptor` from here on: a connected, non-blocking socket. Wakes `owner`, which must outlive it.
  SocketStream(uv_loop_t* loop, int descriptor, Wakeable& owner);
  ~SocketStream() override;
  SocketStream(const SocketStream&) = delete;
  SocketStream& operator=(const SocketStream&) = delete;

  [[nodiscard]] Read read(Scratch& scratch, std::size_t most) override;
  [[nodiscard]] bool readable() const override { return readable_ || status_ != Status::blocked; }
  void write(Scratch& scratch, ByteView bytes) override;
  [[nodiscard]] std::size_t unwritten() const override { return unsent_.size() - sent_; }
  void pause_reading() override;
  void resume_reading() override;
  [[nodiscard]] bool peer_gone() const override { return peer_gone_ || status_ != Status::blocked; }
  [[nodiscard]] bool write_broken() const override { return write_broken_; }
  void finish(Scratch& scratch) override;
  [[nodiscard]] std::string error() const override;

  // Hands further wake-ups to another owner, as when a verified connection goes over to its session.
  void set_owner(Wakeable& owner) { owner_ = &owner; }

 private:
  static void on_poll(uv_poll_t* poll, int status, int events);
  void note_broken();
  void watch();
  [[nodiscard]] std::size_t send_now(ByteView bytes);
  void flush();

  int descriptor_;
  Wakeable* owner_;
  Handle<uv_poll_t> poll_;
  std::vector<std::uint8_t> unsent_;
  std::size_t sent_ = 0;  // of unsent_
  int watched_events_ = 0;
  int errno_ = 0;
  Status status_ = Status::blocked;  // or ended, or failed, for good
  bool readable_ = true;             // something may have come before the first poll
  bool paused_ = false;
  bool peer_gone_ = false;
  bool finishing_ = false;
  bool write_broken_ = false;
};

}  // namespace pgveil::proxy
