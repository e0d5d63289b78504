// Where a client is: the address of its connection, or the one that a trusted proxy has told in a PROXY header.
#pragma once

#include <memory>
#include <optional>

#include "protocol/proxy_header.h"
#include "proxy/base/socket_address.h"

namespace pgveil::proxy {

class ClientOrigin {
 public:
  // The address of the connection's other end.
  explicit ClientOrigin(const KernelAddress& address) : address_(address) {}

  // Returns the address for rules, the log and the audit.
  [[nodiscard]] const KernelAddress& address() const { return address_; }
  // Returns the address of the proxy; null: no PROXY header has told another address than that of the connection.
  [[nodiscard]] const KernelAddress* proxy() const;
  // Returns whether the client is a program on this machine that has connected directly. Only such a client, an
  // application of the operator, gets details of errors.
  [[nodiscard]] bool is_local() const;

  // Applies the header of a trusted proxy. Is called before anything else uses the address.
  void apply(const protocol::ProxyHeader& header);

  // Returns the header for a server that is a proxy, too. `local`: the end of the client's connection at pgveil. A client
  // of a Unix socket gets a header without addresses.
  [[nodiscard]] protocol::ProxyHeader header_for_server(const KernelAddress& local) const;

 private:
  struct Proxied {
    KernelAddress connection;  // the proxy
    std::optional<protocol::ProxyEndpoint>
        destination;  // to which the client has connected; nullopt: not told
  };

  KernelAddress address_;
  std::unique_ptr<const Proxied> proxied_;  // null: there was no header
};

}  // namespace pgveil::proxy
