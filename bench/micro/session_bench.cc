// A session from accept to end without network or TLS: a worker, a client on a socket pair, and a server on a
// Unix socket, all in this thread. (engine_bench.cc measures handshakes.) The client sends its
// StartupMessage, logs in and disconnects. Nothing is logged.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "protocol/backend.h"
#include "protocol/startup.h"
#include "proxy/base/handle.h"
#include "proxy/diagnostics/log.h"
#include "proxy/server/worker.h"
#include "tests/support/certificates.h"
#include "tests/support/snapshot_of.h"

namespace pgveil::proxy {
namespace {

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "session_bench: %s\n", what);
  std::abort();
}

// A server's listening socket, and a snapshot whose upstream is this server.
class Site {
 public:
  Site() : listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)) {
    const auto address = unix_address(folder_.path(".s.PGSQL.5432"));
    if (!address || ::bind(listener_.get(), address->get(), address->size) != 0 ||
        ::listen(listener_.get(), 8) != 0)
      die("listen");
    snapshot = test::snapshot_of(fmt::format(R"(
[[listener]]
address = "127.0.0.1:0"
upstream = "local"
[upstream.local]
host = "{}"
)",
                                             folder_.path("")));
  }

  // Accepts the connection of pgveil; the descriptor is below zero if there is none yet.
  [[nodiscard]] Descriptor accept() const { return Descriptor(::accept(listener_.get(), nullptr, nullptr)); }

  std::shared_ptr<const Snapshot> snapshot;

 private:
  test::TemporaryFolder folder_;
  Descriptor listener_;
};

class Conversation {
 public:
  explicit Conversation(const Site& site)
      : site_(site), worker_(loop_.get(), 1, shared_, site.snapshot, nullptr) {
    protocol::encode_startup_message({protocol::kProtocol30, {{"user", "bench"}, {"database", "bench"}}},
                                     startup_);
    protocol::encode_authentication(protocol::AuthenticationCode::ok, {}, welcome_);
    const std::array<std::uint8_t, 6> ready_for_query{'Z', 0, 0, 0, 5, 'I'};
    welcome_.insert(welcome_.end(), ready_for_query.begin(), ready_for_query.end());
  }

  void log_in_and_leave() {
    std::array<int, 2> pair{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair.data()) != 0) die("no socket pair");
    Descriptor client(pair[0]);
    const std::uint64_t ended_before = worker_.ended();
    shared_.unauthenticated_clients.enter();
    usage_->unauthenticated_clients.enter();
    worker_.start_session({.id = ++last_id_,
                           .descriptor = Descriptor(pair[1]),
                           .peer = peer_,
                           .listener = {site_.snapshot, 0},
                           .listener_address = "bench",
                           .usage = usage_});
    send(client, startup_);
    Descriptor server(-1);
    turn_until([&] { return (server = site_.accept()).get() >= 0; });
    turn_until([&] { return has_come(server); });
    send(server, welcome_);
    turn_until([&] { return has_come(client); });
    client = Descriptor(-1);
    turn_until([&] { return has_ended(server); });
    server = Descriptor(-1);
    turn_until([&] { return worker_.ended() > ended_before; });
  }

 private:
  static void send(const Descriptor& to, protocol::ByteView bytes) {
    if (::send(to.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size()))
      die("a message does not fit into the socket");
  }
  static bool has_come(const Descriptor& from) {
    std::array<std::uint8_t, 256> bytes;
    return ::recv(from.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) > 0;
  }
  static bool has_ended(const Descriptor& from) {
    std::uint8_t byte = 0;
    return ::recv(from.get(), &byte, 1, MSG_DONTWAIT) == 0;
  }
  template <class Condition>
  void turn_until(Condition is_met) {
    for (int turns = 0; !is_met(); ++turns) {
      if (turns == 1'000) die("the session does not go on");
      uv_run(loop_.get(), UV_RUN_NOWAIT);
    }
  }

  const Site& site_;
  Loop loop_;
  SharedState shared_{1, 1'000, [] {}};
  const std::shared_ptr<ListenerUsage> usage_ = std::make_shared<ListenerUsage>([] {});
  Worker worker_;
  SessionId last_id_ = 0;
  const KernelAddress peer_ = *kernel_address(SocketAddress{"127.0.0.1", 5'432, ""});
  protocol::Bytes startup_;
  protocol::Bytes welcome_;
};

void BM_Session(benchmark::State& state) {
  LogConfig log;
  log.level = LogLevel::error;
  start_log(log);
  const Site site;
  {
    Conversation conversation(site);
    for (auto _ : state) conversation.log_in_and_leave();
  }
  static_cast<void>(stop_log());
}
BENCHMARK(BM_Session);

}  // namespace
}  // namespace pgveil::proxy
