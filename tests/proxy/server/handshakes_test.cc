// Both users of the handshake queue make one step in a turn of the loop: UpstreamLink for handshakes with
// servers, Session for handshakes with clients.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <vector>

#include "proxy/server/worker.h"
#include "proxy/upstream/upstream_link.h"
#include "tests/support/certificates.h"
#include "tests/support/snapshot_of.h"
#include "tls/engine.h"

namespace pgveil::proxy {
namespace {

constexpr int kPeers = 4;

bool has_come(const Descriptor& socket) {
  std::uint8_t first = 0;
  return ::recv(socket.get(), &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

std::ptrdiff_t count_with_bytes(const std::vector<Descriptor>& sockets) {
  return std::count_if(sockets.begin(), sockets.end(), has_come);
}

// A CA, a server's certificate for localhost, and their files.
struct Site {
  static test::CertificateRequest request() {
    test::CertificateRequest request;
    request.alternative_names = {test::dns("localhost")};
    return request;
  }

  test::TemporaryFolder folder;
  test::Identity root = test::authority("Test Root");
  test::Identity server = test::issued_by(root, request());
  std::string root_file = folder.write("root.crt", root.certificate_pem());
  std::string cert_file = folder.write("server.crt", server.certificate_pem());
  std::string key_file = folder.write("server.key", server.key_pem());
};

// --- with servers ---

// A link that advances after each event.
class Dialling final : public Wakeable {
 public:
  Dialling(uv_loop_t* loop, HandshakeQueue& queue, const std::shared_ptr<const Upstream>& upstream,
           Scratch& scratch)
      : scratch_(scratch),
        resolver_(loop),
        link_({loop, queue, resolver_}, upstream, upstream->tls, *this, std::chrono::seconds(10)) {}
  void wake() override { state = link_.advance(scratch_); }

  UpstreamLink::State state = UpstreamLink::State::connecting;

 private:
  Scratch& scratch_;
  Resolver resolver_;
  UpstreamLink link_;
};

// A server that listens on 127.0.0.1 and sends nothing.
class SilentServer {
 public:
  SilentServer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_.get(), any, size) != 0 || ::listen(listener_.get(), 64) != 0 ||
        ::getsockname(listener_.get(), any, &size) != 0)
      throw std::runtime_error("no listening socket");
    port = ntohs(address.sin_port);
  }

  void accept_all() {
    for (int socket = 0; (socket = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)) >= 0;)
      connections.emplace_back(socket);
  }

  std::uint16_t port = 0;
  std::vector<Descriptor> connections;

 private:
  Descriptor listener_;
};

TEST(Handshakes, WithServersBeginOneInATurn) {
  const Site site;
  SilentServer server;
  const auto snapshot = test::snapshot_of(fmt::format(R"(
[[listener]]
address = "127.0.0.1:0"
upstream = "a"
[upstream.a]
host = "localhost"
hostaddr = "127.0.0.1"
port = {}
sslrootcert = "{}"
sslnegotiation = "direct"
)",
                                                      server.port, site.root_file));
  Loop loop;
  HandshakeQueue queue(loop.get());
  Scratch scratch(65'536);
  std::vector<std::unique_ptr<Dialling>> links;
  for (int i = 0; i < kPeers; ++i) {
    links.push_back(std::make_unique<Dialling>(loop.get(), queue, snapshot->upstreams.at("a"), scratch));
    links.back()->wake();
  }
  std::ptrdiff_t begun = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (begun < kPeers && std::chrono::steady_clock::now() < deadline) {
    uv_run(loop.get(), UV_RUN_NOWAIT);
    server.accept_all();
    const auto now_begun = count_with_bytes(server.connections);
    EXPECT_LE(now_begun, begun + 1);
    begun = now_begun;
  }
  EXPECT_EQ(begun, kPeers);
}

// --- with clients ---

TEST(Handshakes, WithClientsAreAnsweredOneInATurn) {
  const Site site;
  const auto snapshot = test::snapshot_of(fmt::format(R"(
[[listener]]
address = "127.0.0.1:0"
upstream = "a"
ssl_cert_file = "{}"
ssl_key_file = "{}"
[upstream.a]
host = "/nonexistent"
)",
                                                      site.cert_file, site.key_file));
  tls::ClientSettings settings;
  settings.sslrootcert = site.root_file;
  const auto context = tls::ClientContext::build(settings);
  ASSERT_TRUE(context);
  Loop loop;
  SharedState shared(1, 1'000, [] {});
  const auto usage = std::make_shared<ListenerUsage>([] {});
  Worker worker(loop.get(), 1, shared, snapshot, nullptr);
  KernelAddress peer;
  peer.storage.ss_family = AF_UNIX;
  peer.size = sizeof peer.storage.ss_family;

  std::vector<Descriptor> clients;
  for (int i = 0; i < kPeers; ++i) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    clients.emplace_back(ends[0]);
    const auto engine = tls::Engine::to_server(*context, {.host = "localhost", .require_alpn = true});
    std::array<std::uint8_t, 8'192> memory{};
    tls::Outgoing hello(memory);
    tls::ByteView nothing;
    ASSERT_EQ(engine->handshake(nothing, hello), tls::Engine::Status::want_input);
    ASSERT_EQ(::send(ends[0], hello.written().data(), hello.written().size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(hello.written().size()));
    shared.unauthenticated_clients.enter();
    usage->unauthenticated_clients.enter();
    worker.start_session({.id = static_cast<SessionId>(i + 1),
                          .descriptor = Descriptor(ends[1]),
                          .peer = peer,
                          .listener = {snapshot, 0},
                          .listener_address = "a listener",
                          .usage = usage});
  }
  EXPECT_EQ(count_with_bytes(clients), 1);
  for (int answered = 2; answered <= kPeers; ++answered) {
    uv_run(loop.get(), UV_RUN_NOWAIT);
    EXPECT_EQ(count_with_bytes(clients), answered);
  }
  EXPECT_EQ(worker.abandon(), static_cast<std::size_t>(kPeers));
}

}  // namespace
}  // namespace pgveil::proxy
