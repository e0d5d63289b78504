// Work for bench/guard/run: bulk data through the relay of an established session, with a plaintext client
// and TLS to the server, over socket pairs. Each read of the relay gets a complete batch, which would not be
// so if the ends were other processes. So the same work takes the same steps in each run.
//
//   guard_relay out MEBIBYTES    from the server to the client: decrypted
//   guard_relay in MEBIBYTES     from the client to the server: encrypted
//
// Only guard_relay_turn() runs pgveil's code; the rest of this process is the client and the server.
// callgrind collects only inside this function (--toggle-collect). For strace, two calls of getpgid() mark
// its beginning and its end.
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "bench/site.h"
#include "proxy/base/handle.h"
#include "proxy/net/socket_stream.h"
#include "proxy/net/tls_stream.h"
#include "proxy/session/relay.h"

// callgrind finds this function by its name.
extern "C" [[gnu::noinline]] void guard_relay_turn(uv_loop_t* loop) {
  uv_run(loop, UV_RUN_NOWAIT);
}

namespace pgveil::proxy {
namespace {

constexpr std::size_t kMebibyte = 1 << 20;
constexpr std::size_t kReadSize = 262'144;  // the default of limits.relay_buffer
constexpr std::size_t kBatch = 131'072;     // fits into a Unix socket's buffer with the kernel's defaults
// PostgreSQL sends a record when its buffer of this size is full.
constexpr std::size_t kServerRecord = 8'192;

// The peer's end of a socket pair, non-blocking. The second end belongs to a stream, which closes it.
class Peer {
 public:
  Peer() {
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends_.data()) != 0)
      throw std::runtime_error("no socket pair");
    const int size = kReadSize;
    for (const int end : ends_) ::setsockopt(end, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  }
  ~Peer() { ::close(ends_[0]); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  [[nodiscard]] int streams_end() const { return ends_[1]; }

  void send(ByteView bytes) const {
    if (::send(ends_[0], bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size()))
      throw std::runtime_error("a batch does not fit into the socket");
  }
  // Returns the bytes that have arrived; empty if there are none.
  [[nodiscard]] ByteView receive(std::span<std::uint8_t> room) const {
    const ssize_t size = ::recv(ends_[0], room.data(), room.size(), 0);
    return room.first(size > 0 ? static_cast<std::size_t>(size) : 0);
  }

 private:
  std::array<int, 2> ends_{};
};

class EstablishedSession final : public Wakeable {
 public:
  EstablishedSession()
      : client_(loop_.get(), client_peer_.streams_end(), *this),
        server_(std::make_unique<SocketStream>(loop_.get(), server_peer_.streams_end(), *this),
                tls::Engine::to_server(site_.client_context, {.host = bench::Site::kHost})),
        server_engine_(tls::Engine::to_client(site_.server_context, false)) {
    wake();
    for (bool server_is_ready = false; !server_is_ready || !is_established_;) {
      tls::Outgoing out(wire_);
      ByteView from_client = server_peer_.receive(plaintext_);
      const auto status = server_engine_->handshake(from_client, out);
      if (status == tls::Engine::Status::failed)
        throw std::runtime_error("handshake: " + server_engine_->failure().reason);
      server_is_ready = status == tls::Engine::Status::ready;
      if (!out.written().empty()) server_peer_.send(out.written());
      uv_run(loop_.get(), UV_RUN_NOWAIT);
    }
  }

  void wake() override {
    if (is_established_) {
      if (relay_.advance(scratch_)) throw std::runtime_error("the session has ended");
    } else {
      const auto status = server_.shake_hands(scratch_);
      if (status == TlsStream::Handshake::failed) throw std::runtime_error(server_.failure().reason);
      is_established_ = status == TlsStream::Handshake::done;
    }
  }

  // Decrypts a batch and passes it on.
  void relay_out() {
    tls::Outgoing out(wire_);
    for (std::size_t sent = 0; sent < kBatch; sent += kServerRecord) {
      ByteView record = ByteView(batch_).first(kServerRecord);
      if (server_engine_->write(record, out) != tls::Engine::Status::ready)
        throw std::runtime_error("the server cannot write");
    }
    server_peer_.send(out.written());
    for (std::size_t received = 0; received < kBatch;) {
      turn();
      received += client_peer_.receive(plaintext_).size();
    }
  }

  // Encrypts a batch and passes it on.
  void relay_in() {
    client_peer_.send(batch_);
    for (std::size_t received = 0; received < kBatch;) {
      turn();
      ByteView ciphertext = server_peer_.receive(wire_);
      tls::Outgoing out(answer_);
      const auto read = server_engine_->read(ciphertext, plaintext_, out);
      if (read.status == tls::Engine::Status::failed) throw std::runtime_error("the server cannot read");
      received += read.size;
    }
  }

 private:
  void turn() {
    static_cast<void>(::getpgid(0));
    guard_relay_turn(loop_.get());
    static_cast<void>(::getpgid(0));
  }

  bench::Site site_;
  Loop loop_;
  Peer client_peer_;
  Peer server_peer_;
  Scratch scratch_{kReadSize};
  SocketStream client_;
  TlsStream server_;
  Relay relay_{client_, server_, kReadSize};
  bool is_established_ = false;

  std::unique_ptr<tls::Engine> server_engine_;
  std::vector<std::uint8_t> batch_ = std::vector<std::uint8_t>(kBatch, 'x');
  std::vector<std::uint8_t> wire_ = std::vector<std::uint8_t>(2 * kBatch);
  std::vector<std::uint8_t> plaintext_ = std::vector<std::uint8_t>(2 * kBatch + tls::kMaxRecordPlaintext);
  std::array<std::uint8_t, 1'024> answer_{};
};

int relay(std::string_view direction, std::size_t mebibytes) {
  if ((direction != "out" && direction != "in") || mebibytes == 0) return 64;
  EstablishedSession session;
  for (std::size_t done = 0; done < mebibytes * kMebibyte; done += kBatch) {
    if (direction == "out") {
      session.relay_out();
    } else {
      session.relay_in();
    }
  }
  return 0;
}

}  // namespace
}  // namespace pgveil::proxy

int main(int count, char** arguments) {
  try {
    if (count == 3) return pgveil::proxy::relay(arguments[1], std::strtoul(arguments[2], nullptr, 10));
    std::fputs("usage: guard_relay out|in MEBIBYTES\n", stderr);
    return 64;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "guard_relay: %s\n", error.what());
    return 1;
  }
}
