// A PostgreSQL server on a Unix socket. The test itself writes every byte that it sends.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <string>

#include "proxy/base/descriptor.h"
#include "proxy/base/socket_address.h"

namespace pgveil::test {

class UnixServer {
 public:
  // Listens on the socket for port 5432 in `folder`, which ends with a slash.
  explicit UnixServer(const std::string& folder)
      : listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    const auto address = proxy::unix_address(folder + ".s.PGSQL.5432");
    EXPECT_EQ(::bind(listener_.get(), address->get(), address->size), 0) << address->text();
    EXPECT_EQ(::listen(listener_.get(), 100), 0);
  }

  // Returns true once a client is connected. It replaces the client before it.
  [[nodiscard]] bool accept() {
    proxy::Descriptor client(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (client.get() < 0) return false;
    client_ = std::move(client);
    return true;
  }
  [[nodiscard]] bool is_connected() const { return client_.get() >= 0; }
  // Returns whether the client has closed its side, and all its bytes have been received.
  [[nodiscard]] bool has_ended() const {
    char byte = 0;
    return ::recv(client_.get(), &byte, 1, MSG_PEEK) == 0;
  }
  void close() { client_ = proxy::Descriptor(-1); }

  // Returns the bytes that have arrived since the last call; empty: none.
  [[nodiscard]] std::string received() const {
    std::array<char, 4096> bytes{};
    const ssize_t size = ::recv(client_.get(), bytes.data(), bytes.size(), 0);
    return size > 0 ? std::string(bytes.data(), static_cast<std::size_t>(size)) : "";
  }
  void send(const std::string& bytes) const {
    EXPECT_EQ(::send(client_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }

 private:
  proxy::Descriptor listener_;
  proxy::Descriptor client_{-1};
};

}  // namespace pgveil::test
