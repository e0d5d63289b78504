// A snapshot is replaced while sessions, listeners, pre-established connections and cancel routes of the old
// one exist. AddressSanitizer would find a pointer that still points into an old snapshot.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "proxy/base/descriptor.h"
#include "proxy/server/listener.h"
#include "proxy/server/worker_pool.h"
#include "tests/support/certificates.h"

namespace pgveil::proxy {
namespace {

constexpr auto kPatience = std::chrono::seconds(30);

// A PostgreSQL server with logins by `trust` only. Every client logs in and gets its own cancel key. The
// server closes a connection after the client has ended its side.
class TrustingServer {
 public:
  explicit TrustingServer(const std::string& folder)
      : listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    const auto address = unix_address(folder + ".s.PGSQL.5432");
    EXPECT_EQ(::bind(listener_.get(), address->get(), address->size), 0) << address->text();
    EXPECT_EQ(::listen(listener_.get(), 1'000), 0);
  }

  // Handles the bytes and connections that have arrived. Returns the number of logins so far.
  std::size_t serve() {
    for (;;) {
      Descriptor client(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (client.get() < 0) break;
      waiting_.push_back(std::move(client));
    }
    std::erase_if(waiting_, [this](Descriptor& client) {
      std::array<char, 512> packet{};
      if (::recv(client.get(), packet.data(), packet.size(), 0) <= 0) return false;
      std::string answer("R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0", 16);
      const auto id = static_cast<std::uint16_t>(++count_);
      answer += static_cast<char>(id >> 8U);
      answer += static_cast<char>(id & 0xffU);
      answer += std::string("\0\0\0\x2aZ\0\0\0\x05I", 10);
      EXPECT_EQ(::send(client.get(), answer.data(), answer.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(answer.size()));
      let_in_.push_back(std::move(client));
      return true;
    });
    std::erase_if(let_in_, [](Descriptor& client) {
      char byte = 0;
      return ::recv(client.get(), &byte, 1, 0) == 0;
    });
    return count_;
  }

 private:
  Descriptor listener_;
  std::vector<Descriptor> waiting_;  // connected clients that have sent nothing yet
  std::vector<Descriptor> let_in_;
  std::size_t count_ = 0;
};

class ReplacedSnapshots : public testing::Test {
 protected:
  std::shared_ptr<const Snapshot> snapshot(unsigned relay_buffer_kib) {
    auto parsed = parse_config(fmt::format(R"(
[limits]
relay_buffer = "{}KiB"
[[listener]]
address = "127.0.0.1:0"
upstream = "a"
hba = "host all all all relay"
[upstream.a]
host = "{}"
)",
                                           relay_buffer_kib, folder_.path("")),
                               "pgveil.toml");
    if (!parsed) throw std::runtime_error(parsed.error().front().text());
    parsed->config.upstreams.at("a").preconnect = 2;  // a configuration file may not set this without TLS
    return build_snapshot(*parsed).value();
  }

  // Runs the main loop and serves until `done` returns true.
  template <class Condition>
  [[nodiscard]] bool turn_until(Condition done) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!done()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      uv_run(loop_.get(), UV_RUN_NOWAIT);
      server_.serve();
      std::this_thread::yield();
    }
    return true;
  }

  Descriptor connect(const std::string& address) {
    Descriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto port = static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
    const auto target = kernel_address(SocketAddress{.host = "127.0.0.1", .port = port, .unix_path = ""});
    EXPECT_EQ(::connect(client.get(), target->get(), target->size), 0);
    ::fcntl(client.get(), F_SETFL, O_NONBLOCK);
    return client;
  }
  static void log_in(const Descriptor& client) {
    const std::string startup("\0\0\0\x12\0\x03\0\0user\0app\0\0", 18);
    EXPECT_EQ(::send(client.get(), startup.data(), startup.size(), MSG_NOSIGNAL), 18);
  }
  // Returns the bytes that have arrived; empty: none yet.
  static std::string received(const Descriptor& client) {
    std::array<char, 512> bytes{};
    const auto size = ::recv(client.get(), bytes.data(), bytes.size(), 0);
    return size > 0 ? std::string(bytes.data(), static_cast<std::size_t>(size)) : "";
  }

  test::TemporaryFolder folder_;
  TrustingServer server_{folder_.path("")};
  Loop loop_;
};

TEST_F(ReplacedSnapshots, LiveAsLongAsAnybodyBeganUnderThem) {
  constexpr unsigned kReplacements = 20;
  auto current = snapshot(16);
  std::optional<WorkerPool> workers(std::in_place, loop_.get(), current, 2);
  auto listeners = Listener::open(loop_.get(), {current, 0}, *workers, workers->new_usage());
  ASSERT_TRUE(listeners) << listeners.error().text;
  Listener& listener = *listeners->front();
  const std::string address = listener.address();

  struct Client {
    Descriptor descriptor;
    std::weak_ptr<const Snapshot> snapshot;
  };
  std::vector<Client> established;
  std::vector<Client> silent;  // connected clients that have sent nothing
  for (unsigned i = 0; i < kReplacements; ++i) {
    silent.push_back({connect(address), current});
    established.push_back({connect(address), current});
    log_in(established.back().descriptor);
    std::string answer;
    ASSERT_TRUE(turn_until([&] {
      answer += received(established.back().descriptor);
      return answer.ends_with('I');
    }));
    current = snapshot(16 + 16 * (i % 3));
    workers->replace_snapshot(current);
    listener.serve({current, 0});
  }
  // Each established session has its own snapshot, and is its only owner.
  for (const auto& client : established) EXPECT_FALSE(client.snapshot.expired());

  // The silent clients log in now, with the old snapshots.
  for (auto& client : silent) {
    log_in(client.descriptor);
    std::string answer;
    ASSERT_TRUE(turn_until([&] {
      answer += received(client.descriptor);
      return answer.ends_with('I');
    }));
  }
  // A cancel request is forwarded to the server of a session that began with an old snapshot.
  const auto before = server_.serve();
  const Descriptor canceller = connect(address);
  const std::string cancel("\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x2a", 16);
  ASSERT_EQ(::send(canceller.get(), cancel.data(), cancel.size(), MSG_NOSIGNAL), 16);
  EXPECT_TRUE(turn_until([&] { return server_.serve() > before; }));

  std::vector<std::weak_ptr<const Snapshot>> old;
  for (const auto& client : established) old.push_back(client.snapshot);
  established.clear();
  silent.clear();
  EXPECT_TRUE(turn_until([&] {
    for (const auto& snapshot : old)
      if (!snapshot.expired()) return false;
    return true;
  }));
  listeners->clear();
  workers.reset();
}

}  // namespace
}  // namespace pgveil::proxy
