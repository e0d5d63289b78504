#include "proxy/admin/http_listener.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "proxy/base/socket_address.h"

namespace pgveil::proxy {
namespace {

class AnHttpListener : public testing::Test {
 protected:
  AnHttpListener() { listen({}); }

  // Replaces the listener by one with other maximum times.
  void listen(HttpConnection::Times max_times) {
    listener_.reset();
    Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const auto any = kernel_address(SocketAddress{.host = "127.0.0.1", .port = 0, .unix_path = ""});
    EXPECT_EQ(::bind(socket.get(), any->get(), any->size), 0);
    EXPECT_EQ(::listen(socket.get(), 1024), 0);
    address_ = bound_address(socket.get());
    std::vector<Descriptor> sockets;
    sockets.push_back(std::move(socket));
    listener_ = std::make_unique<HttpListener>(
        loop_.get(), std::move(sockets),
        [this](const HttpRequest& request) {
          ++answered_;
          return HttpResponse{.body = request.path + body_};
        },
        max_times);
  }

  void turn() { uv_run(loop_.get(), UV_RUN_NOWAIT); }
  Descriptor connect() {
    Descriptor client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(client.get(), address_.get(), address_.size), 0);
    ::fcntl(client.get(), F_SETFL, O_NONBLOCK);
    return client;
  }
  static void send(const Descriptor& client, std::string_view bytes) {
    EXPECT_EQ(::send(client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  // Returns what arrives until the end of the connection, or until it ends with `last`.
  std::string receive(const Descriptor& client, std::string_view last = {}) {
    std::string received;
    std::array<char, 4096> bytes{};
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < end) {
      turn();
      const ssize_t size = ::recv(client.get(), bytes.data(), bytes.size(), 0);
      if (size > 0) received.append(bytes.data(), static_cast<std::size_t>(size));
      if (size == 0 || (!last.empty() && received.ends_with(last))) return received;
      if (size < 0 && errno != EAGAIN) return received + " and an error";
    }
    return received + " and no end";
  }

  // Returns whether all connections have ended before so much time has passed.
  bool all_end_within(std::chrono::milliseconds time) {
    const auto end = std::chrono::steady_clock::now() + time;
    while (listener_->connections() > 0 && std::chrono::steady_clock::now() < end) turn();
    return listener_->connections() == 0;
  }

  Loop loop_;
  KernelAddress address_;
  std::unique_ptr<HttpListener> listener_;
  std::string body_;
  int answered_ = 0;
};

TEST_F(AnHttpListener, AnswersOneRequestAndCloses) {
  const Descriptor client = connect();
  send(client, "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(receive(client).ends_with("\r\n\r\n/livez"));
  EXPECT_EQ(answered_, 1);
}

TEST_F(AnHttpListener, AnswersFurtherRequestsOnTheSameConnection) {
  const Descriptor client = connect();
  for (int i = 0; i < 3; ++i) {
    send(client, "GET /livez HTTP/1.1\r\n\r\n");
    EXPECT_TRUE(receive(client, "/livez").ends_with("\r\n\r\n/livez"));
  }
  send(client, "GET /last HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(receive(client).ends_with("\r\n\r\n/last"));
  EXPECT_EQ(answered_, 4);
}

TEST_F(AnHttpListener, ClosesIfTheNextRequestComesTooEarly) {
  const Descriptor client = connect();
  send(client, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /again HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(receive(client).ends_with("\r\n\r\n/livez"));
  EXPECT_EQ(answered_, 1);
}

TEST_F(AnHttpListener, SendsAResponseThatIsLargerThanTheBuffersOfTheKernel) {
  body_.assign(std::size_t{8} << 20U, 'x');
  const Descriptor client = connect();
  send(client, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(receive(client).ends_with(body_));
}

TEST_F(AnHttpListener, RefusesARequestWithoutEnd) {
  const Descriptor client = connect();
  send(client, "GET / HTTP/1.1\r\n" + std::string(9'000, 'a'));
  EXPECT_TRUE(receive(client).starts_with("HTTP/1.1 400 "));
  EXPECT_EQ(answered_, 0);
}

TEST_F(AnHttpListener, ClosesTheOldestConnectionToAcceptAnotherOne) {
  std::deque<Descriptor> silent;
  while (silent.size() < HttpListener::kMaxConnections) silent.push_back(connect());
  for (int turns = 0; turns < 10; ++turns) turn();
  EXPECT_EQ(listener_->connections(), HttpListener::kMaxConnections);
  const Descriptor client = connect();
  send(client, "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(receive(client).ends_with("/livez"));
  EXPECT_EQ(receive(silent.front()), "");
  char byte = 0;
  EXPECT_LT(::recv(silent.back().get(), &byte, 1, 0), 0) << "is closed, too";
}

TEST_F(AnHttpListener, ForgetsAConnectionThatIsOver) {
  {
    const Descriptor client = connect();
    send(client, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    receive(client);
  }
  for (int turns = 0; turns < 10; ++turns) turn();
  EXPECT_EQ(listener_->connections(), 0U);
}

// The time is one that no other end of these connections takes.
constexpr std::chrono::seconds kLong{600};
constexpr std::chrono::milliseconds kShort{100};
constexpr std::chrono::seconds kPatience{20};

TEST_F(AnHttpListener, EndsAConnectionWithoutARequestInTime) {
  listen({.request = kShort, .idle = kLong});
  const Descriptor client = connect();
  send(client, "GET / HTTP/1.1\r\n");
  while (listener_->connections() == 0) turn();
  EXPECT_TRUE(all_end_within(kPatience));
}

TEST_F(AnHttpListener, EndsAConnectionWhoseClientDoesNotReadTheResponse) {
  listen({.request = kShort, .idle = kLong});
  body_.assign(std::size_t{64} << 20U, 'x');  // more than the buffers of the kernel hold
  const Descriptor client = connect();
  send(client, "GET / HTTP/1.1\r\n\r\n");
  while (answered_ == 0) turn();
  const Descriptor other = connect();
  send(other, "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n");
  body_.clear();
  EXPECT_TRUE(receive(other).ends_with("/livez"));
  EXPECT_TRUE(all_end_within(kPatience));
}

TEST_F(AnHttpListener, EndsAnIdleConnection) {
  listen({.request = kLong, .idle = kShort});
  const Descriptor client = connect();
  send(client, "GET /livez HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(receive(client).ends_with("/livez"));  // and the end of the connection
}

TEST_F(AnHttpListener, GivesALaterRequestATimeOfItsOwn) {
  listen({.request = kShort, .idle = kLong});
  const Descriptor client = connect();
  send(client, "GET /livez HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(receive(client, "/livez").ends_with("/livez"));
  const auto idle_until = std::chrono::steady_clock::now() + 3 * kShort;
  while (std::chrono::steady_clock::now() < idle_until) turn();
  ASSERT_EQ(listener_->connections(), 1U);
  send(client, "GET");
  EXPECT_TRUE(all_end_within(kPatience));
}

// The kernel has more bytes of the request than one read takes, and reports the reset with them.
TEST_F(AnHttpListener, EndsAConnectionThatWasReset) {
  listen({.request = kLong, .idle = kLong});
  {
    const Descriptor client = connect();
    const linger reset{.l_onoff = 1, .l_linger = 0};
    ASSERT_EQ(::setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    send(client, "GET / HTTP/1.1\r\n" + std::string(6'000, 'a'));
  }
  while (listener_->connections() == 0) turn();
  EXPECT_TRUE(all_end_within(kPatience));
}

// The limit is lowered to the descriptors that are open.
TEST_F(AnHttpListener, AnswersWhenTheProcessHasNoFurtherDescriptor) {
  const Descriptor client = connect();
  send(client, "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n");
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const Descriptor last(::dup(client.get()));
  const rlimit lowered{.rlim_cur = static_cast<rlim_t>(last.get()), .rlim_max = limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &lowered), 0);
  const int further = ::dup(client.get());
  const std::string received = further < 0 ? receive(client) : "";
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_LT(further, 0) << "there is still a descriptor";
  EXPECT_TRUE(received.ends_with("/livez")) << received;
}

}  // namespace
}  // namespace pgveil::proxy
