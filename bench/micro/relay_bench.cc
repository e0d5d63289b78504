// The relay of one message from a client to a server, plaintext on both sides, over socket pairs: a turn of
// the loop, one recv() and one send(). The figure includes the kernel's time for all four sockets.

#include <benchmark/benchmark.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <array>
#include <cstdlib>
#include <vector>

#include "proxy/net/socket_stream.h"
#include "proxy/session/relay.h"

namespace pgveil::proxy {
namespace {

constexpr std::size_t kReadSize = 262'144;

// A connected socket pair: the far end belongs to the peer and is blocking, the near end belongs to the stream.
class Pair {
 public:
  Pair() {
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends_.data()) != 0) std::abort();
    const int size = kReadSize;
    for (const int end : ends_) ::setsockopt(end, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  }
  ~Pair() { ::close(far()); }  // the stream closes the near end
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  [[nodiscard]] int far() const { return ends_[0]; }
  [[nodiscard]] int near() const { return ends_[1]; }

 private:
  std::array<int, 2> ends_{};
};

class RelayedPairs final : public Wakeable {
 public:
  explicit RelayedPairs(uv_loop_t* loop)
      : client_(loop, client_pair_.near(), *this), server_(loop, server_pair_.near(), *this) {}
  void wake() override { benchmark::DoNotOptimize(relay_.advance(scratch_)); }
  [[nodiscard]] int client() const { return client_pair_.far(); }
  [[nodiscard]] int server() const { return server_pair_.far(); }

 private:
  Pair client_pair_;
  Pair server_pair_;
  Scratch scratch_{kReadSize};
  SocketStream client_;
  SocketStream server_;
  Relay relay_{client_, server_, kReadSize};
};

void BM_RelayMessage(benchmark::State& state) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  std::vector<std::uint8_t> message(static_cast<std::size_t>(state.range(0)), 'x');
  {
    RelayedPairs relayed(&loop);
    for (auto _ : state) {
      if (::send(relayed.client(), message.data(), message.size(), 0) < 0) std::abort();
      uv_run(&loop, UV_RUN_ONCE);
      if (::recv(relayed.server(), message.data(), message.size(), MSG_WAITALL) < 0) std::abort();
    }
  }
  uv_run(&loop, UV_RUN_DEFAULT);  // the close callbacks
  uv_loop_close(&loop);
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_RelayMessage)->Arg(100)->Arg(4'096)->Arg(65'536);

}  // namespace
}  // namespace pgveil::proxy
