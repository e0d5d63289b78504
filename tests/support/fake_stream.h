// A stream without a socket. A test sets the bytes that reads return and the room in the kernel, and checks
// the bytes that were written.
#pragma once

#include <algorithm>
#include <deque>
#include <string>
#include <string_view>

#include "proxy/net/stream.h"

namespace pgveil::test {

class FakeStream final : public proxy::Stream {
 public:
  // The pieces that reads return, one for each read; after them reads return `end`.
  std::deque<std::string> incoming;
  Status end = Status::blocked;
  // The bytes that the kernel has accepted, the number of bytes that it still accepts, and the bytes that wait.
  std::string written;
  std::size_t kernel_room = std::string::npos;
  std::string waiting;
  bool paused = false;
  bool finished = false;
  bool cut_off = false;  // by finish()
  bool broken = false;
  bool breaks = false;          // look_for_break() finds that the peer has broken the connection
  bool fails_to_write = false;  // as TLS that cannot encrypt: a read returns the failure, without an event
  CloseNotify notify = CloseNotify::without_tls;
  bool held = false;  // the stream itself holds `incoming`, so there is no event for it
  int reads = 0;
  std::size_t wakes_at = 1;

  // The kernel accepts `size` bytes of `waiting`.
  void drain(std::size_t size) {
    size = std::min(size, waiting.size());
    written += waiting.substr(0, size);
    waiting.erase(0, size);
  }

  Read read(proxy::Scratch& scratch, std::size_t most) override {
    ++reads;
    if (incoming.empty()) {
      held = false;
      return {end, {}};
    }
    const std::string piece = incoming.front().substr(0, most);
    incoming.front().erase(0, piece.size());
    if (incoming.front().empty()) incoming.pop_front();
    std::copy(piece.begin(), piece.end(), scratch.incoming.begin());
    return {Status::bytes, proxy::ByteView(scratch.incoming).first(piece.size())};
  }
  [[nodiscard]] bool holds() const override { return held; }
  [[nodiscard]] bool readable() const override { return !incoming.empty() || end != Status::blocked; }
  void write(proxy::Scratch& /*scratch*/, proxy::ByteView bytes) override {
    if (fails_to_write) {
      end = Status::failed;
      held = true;
      return;
    }
    waiting.append(bytes.begin(), bytes.end());
    const std::size_t taken = std::min(kernel_room, waiting.size());
    if (kernel_room != std::string::npos) kernel_room -= taken;
    drain(taken);
  }
  [[nodiscard]] std::size_t unwritten() const override { return waiting.size(); }
  void pause_reading() override { paused = true; }
  void resume_reading() override { paused = false; }
  void wake_at(std::size_t bytes) override { wakes_at = bytes; }
  [[nodiscard]] CloseNotify close_notify() const override { return notify; }
  [[nodiscard]] bool write_broken() const override { return broken; }
  void look_for_break() override { broken = broken || breaks; }
  void finish(proxy::Scratch& /*scratch*/, Finish how) override {
    finished = true;
    cut_off = how == Finish::cut_off;
  }
  [[nodiscard]] std::string error() const override { return {}; }
};

}  // namespace pgveil::test
