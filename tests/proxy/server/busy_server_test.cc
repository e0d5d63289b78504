// A server that sends faster than pgveil reads. Each turn of the loop reads a bounded part of it, so that
// other sessions run, too.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <string>

#include "protocol/startup.h"
#include "proxy/server/worker.h"
#include "tests/support/certificates.h"
#include "tests/support/snapshot_of.h"

namespace pgveil::proxy {
namespace {

// The most that one turn reads, with reads of 16 KiB. The tests compare with twice this number, because the
// kernel frees its buffers in larger pieces.
constexpr std::size_t kMaxTaken = kMaxReads * std::size_t{16'384};

// A session whose server is on a Unix socket, and both of its peers.
class ABusyServer : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto address = unix_address(folder_.path(".s.PGSQL.5432"));
    ASSERT_TRUE(address);
    listener_ = Descriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(listener_.get(), address->get(), address->size), 0);
    ASSERT_EQ(::listen(listener_.get(), 1), 0);
  }
  void TearDown() override { EXPECT_EQ(worker_.abandon(), 1U); }

  // Connects a client that sends `packet`, and waits until the server has received something.
  void connect(const protocol::Bytes& packet) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    client_ = Descriptor(ends[0]);
    ASSERT_EQ(::send(ends[0], packet.data(), packet.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(packet.size()));
    KernelAddress peer;
    peer.storage.ss_family = AF_UNIX;
    peer.size = sizeof peer.storage.ss_family;
    shared_.unauthenticated_clients.enter();
    usage_->unauthenticated_clients.enter();
    worker_.start_session({.id = 1,
                           .descriptor = Descriptor(ends[1]),
                           .peer = peer,
                           .listener = {snapshot_, 0},
                           .listener_address = "a listener",
                           .usage = usage_});
    std::array<char, 256> request{};
    for (int turn = 0; turn < 100 && ::recv(server_.get(), request.data(), request.size(), 0) <= 0; ++turn) {
      uv_run(loop_.get(), UV_RUN_NOWAIT);
      if (server_.get() < 0)
        server_ = Descriptor(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    }
    ASSERT_NE(request[0] + request[3], 0);
  }
  // Sends `message` again and again until the kernel accepts no more. Returns the number of accepted bytes.
  std::size_t fill(const std::string& message) {
    std::string rest = message;
    for (std::size_t taken = 0;;) {
      const auto sent = ::send(server_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent <= 0) {
        unsent_ = rest;
        return taken;
      }
      taken += static_cast<std::size_t>(sent);
      rest.erase(0, static_cast<std::size_t>(sent));
      if (rest.empty()) rest = message;
    }
  }
  // Returns the number of bytes that one turn of the loop takes from the kernel.
  std::size_t taken_in_a_turn() {
    uv_run(loop_.get(), UV_RUN_NOWAIT);
    return fill(std::string(unsent_));
  }

  test::TemporaryFolder folder_;
  std::shared_ptr<const Snapshot> snapshot_ = test::snapshot_of(fmt::format(R"(
[[listener]]
address = "127.0.0.1:0"
upstream = "a"
hba = "local all all relay"
[upstream.a]
host = "{}"
[limits]
relay_buffer = "16KiB"
)",
                                                                            folder_.path(".")));
  Loop loop_;
  SharedState shared_{1, 10, [] {}};
  const std::shared_ptr<ListenerUsage> usage_ = std::make_shared<ListenerUsage>([] {});
  Worker worker_{loop_.get(), 1, shared_, snapshot_, nullptr};
  Descriptor listener_{-1};
  Descriptor client_{-1};
  Descriptor server_{-1};
  std::string unsent_;
};

TEST_F(ABusyServer, IsLeftAfterSomeReadsOfALogin) {
  protocol::StartupMessage startup;
  startup.set("user", "ann");
  protocol::Bytes packet;
  protocol::encode_startup_message(startup, packet);
  connect(packet);
  const std::string accepted("R\0\0\0\x08\0\0\0\0", 9);
  ASSERT_EQ(::send(server_.get(), accepted.data(), accepted.size(), MSG_NOSIGNAL), 9);
  const std::string notice = std::string("N\0\0\x80\4", 5) + std::string(32'768, 'x');
  ASSERT_GT(fill(notice), 2 * kMaxTaken);
  EXPECT_LT(taken_in_a_turn(), 2 * kMaxTaken);
  EXPECT_GT(taken_in_a_turn(), 0U);  // reading continues
}

TEST_F(ABusyServer, IsLeftAfterSomeReadsBehindACancelRequest) {
  protocol::Bytes packet;
  protocol::encode_cancel_request({7, {1, 2, 3, 4}}, packet);
  connect(packet);
  ASSERT_GT(fill(std::string(32'768, '\0')), 2 * kMaxTaken);
  EXPECT_LT(taken_in_a_turn(), 2 * kMaxTaken);
  EXPECT_GT(taken_in_a_turn(), 0U);
}

}  // namespace
}  // namespace pgveil::proxy
