// A stream without a socket: what it will be read, what was written to it, and how much its kernel takes.
#pragma once

#include <algorithm>
#include <deque>
#include <string>
#include <string_view>

#include "proxy/net/stream.h"

namespace pgveil::testing {

class FakeStream final : public proxy::Stream {
 public:
  // What reads will bring, one piece a read; then `end`, where one was set.
  std::deque<std::string> incoming;
  Status end = Status::blocked;
  // What was taken by the kernel, and how much more it takes before the rest has to wait.
  std::string written;
  std::size_t kernel_room = std::string::npos;
  std::string waiting;
  bool paused = false;
  bool finished = false;
  bool cut_off = false;  // by finish()
  bool gone = false;
  bool broken = false;
  bool fails_to_write = false;  // as TLS that cannot encrypt: only a read tells, and no event
  bool held = false;            // what is incoming is in the stream, and no event would tell of it
  int reads = 0;
  std::size_t wakes_at = 1;

  // The kernel takes `size` of what waits.
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
  [[nodiscard]] bool peer_gone() const override { return gone; }
  [[nodiscard]] bool write_broken() const override { return broken; }
  void finish(proxy::Scratch& /*scratch*/, Finish how) override {
    finished = true;
    cut_off = how == Finish::cut_off;
  }
  [[nodiscard]] std::string error() const override { return {}; }
};

}  // namespace pgveil::testing
