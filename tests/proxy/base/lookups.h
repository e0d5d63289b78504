// A name server inside a test, and a resolver that asks it.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <uv.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "proxy/base/descriptor.h"
#include "proxy/base/handle.h"
#include "proxy/base/resolver.h"
#include "tests/support/certificates.h"
#include "tests/support/failing_memory.h"

namespace pgveil::proxy {

inline constexpr std::uint16_t kTypeA = 1;
inline constexpr std::uint16_t kTypePtr = 12;

// A name server on a port of 127.0.0.1, which the loop of the test runs.
class NameServer {
 public:
  explicit NameServer(uv_loop_t* loop) : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(socket_.get(), any, size) != 0 || ::getsockname(socket_.get(), any, &size) != 0)
      throw std::runtime_error("no socket for the name server");
    port = ntohs(address.sin_port);
    poll_.reset(new uv_poll_t);
    uv_poll_init(loop, poll_.get(), socket_.get());
    poll_->data = this;
    uv_poll_start(poll_.get(), UV_READABLE, [](uv_poll_t* poll, int /*status*/, int /*events*/) {
      static_cast<NameServer*>(poll->data)->answer();
    });
    uv_unref(reinterpret_cast<uv_handle_t*>(poll_.get()));
  }

  std::uint16_t port = 0;
  std::map<std::string, std::string> addresses;  // IPv4, of names
  std::map<std::string, std::string> pointers;   // names, by names such as 7.0.0.10.in-addr.arpa
  std::map<std::string, int> lost;               // number of questions for a name without an answer; -1: all
  std::map<std::string, int> questions;          // number of questions that have arrived for a name
  std::function<void()> on_question;

 private:
  void answer() {
    const test::SafeAllocations safe;
    std::array<std::uint8_t, 512> packet{};
    sockaddr_in from{};
    socklen_t from_size = sizeof from;
    auto* const any = reinterpret_cast<sockaddr*>(&from);
    const ssize_t received = ::recvfrom(socket_.get(), packet.data(), packet.size(), 0, any, &from_size);
    if (received < 12) return;
    std::size_t at = 12;
    std::string name;
    while (packet.at(at) != 0) {
      if (!name.empty()) name += '.';
      const std::size_t length = packet.at(at++);
      for (std::size_t i = 0; i < length; ++i) name += static_cast<char>(packet.at(at++));
    }
    const auto type = static_cast<std::uint16_t>(packet.at(at + 1) << 8U | packet.at(at + 2));
    at += 5;
    ++questions[name];
    if (on_question) on_question();
    if (auto& rest = lost[name]; rest != 0) {
      if (rest > 0) --rest;
      return;
    }
    std::vector<std::uint8_t> reply(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(at));
    std::vector<std::uint8_t> data;
    bool is_known = false;
    if (const auto found = addresses.find(name); found != addresses.end()) {
      is_known = true;
      if (type == kTypeA) {
        data.resize(4);
        ::inet_pton(AF_INET, found->second.c_str(), data.data());
      }
    }
    if (const auto found = pointers.find(name); found != pointers.end()) {
      is_known = true;
      if (type == kTypePtr) {
        std::istringstream labels(found->second);
        for (std::string label; std::getline(labels, label, '.');) {
          data.push_back(static_cast<std::uint8_t>(label.size()));
          data.insert(data.end(), label.begin(), label.end());
        }
        data.push_back(0);
      }
    }
    reply[2] = 0x81;
    reply[3] = is_known ? 0x80 : 0x83;  // NXDOMAIN
    reply[7] = data.empty() ? 0 : 1;
    reply[8] = reply[9] = reply[10] = reply[11] = 0;
    if (!data.empty()) {
      const auto low = [](std::size_t value) { return static_cast<std::uint8_t>(value); };
      const std::array<std::uint8_t, 12> head{0xc0, 0x0c, 0, low(type), 0, 1,
                                              0,    0,    0, 60,        0, low(data.size())};
      reply.insert(reply.end(), head.begin(), head.end());
      reply.insert(reply.end(), data.begin(), data.end());
    }
    ::sendto(socket_.get(), reply.data(), reply.size(), 0, any, from_size);
  }

  Descriptor socket_;
  Handle<uv_poll_t> poll_;
};

struct Waiter final : Wakeable {
  void wake() override {
    ++times;
    if (then) then();
  }
  int times = 0;
  std::function<void()> then;
};

class Lookups : public testing::Test {
 protected:
  Resolver& resolver(const std::string& options = "") {
    resolver_.emplace(loop_.get(), Resolver::Settings{.resolv_conf = folder_.write(
                                                          "resolv.conf", "nameserver 127.0.0.1\n" + options),
                                                      .port = server_.port});
    return *resolver_;
  }
  // Runs the loop until no look-up is running.
  void run() { uv_run(loop_.get(), UV_RUN_DEFAULT); }
  void turn() { uv_run(loop_.get(), UV_RUN_ONCE); }

  Loop loop_;
  test::TemporaryFolder folder_;
  NameServer server_{loop_.get()};
  std::optional<Resolver> resolver_;
  Waiter waiter_;
};

}  // namespace pgveil::proxy
