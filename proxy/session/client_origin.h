// Where a client is: the address of its connection, or the one that a trusted proxy has told in a PROXY header.
#pragma once

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
  // Returns whether the client is a program on this machine that has connected directly. Only such a client, an
  // application of the operator, gets details of errors.
  [[nodiscard]] bool is_local() const;

  // Applies the header of a trusted proxy. Is called before anything else uses the address.
  void apply(const protocol::ProxyHeader& header);

  // Returns the header for a server that is a proxy, too. `destination`: the one in the client's header; nullopt: there
  // was none. `local`: the end of the client's connection at pgveil. A client of a Unix socket gets a header without
  // addresses.
  [[nodiscard]] protocol::ProxyHeader header_for_server(
      const std::optional<protocol::ProxyEndpoint>& destination, const KernelAddress& local) const;

 private:
  // The flag is in the padding of the address: a session without a header is not larger for it.
  [[no_unique_address]] KernelAddress address_;
  bool has_header_ = false;
};
static_assert(sizeof(ClientOrigin) == sizeof(KernelAddress));

}  // namespace pgveil::proxy
