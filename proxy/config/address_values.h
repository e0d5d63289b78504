// Settings that say where a listener or a server is: addresses, hosts, ports, and the names that clients send.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proxy/base/socket_address.h"
#include "proxy/config/list_values.h"
#include "proxy/config/trusted_proxies.h"
#include "proxy/config/values.h"

namespace pgveil::proxy::values {

// What a listener waits on: "127.0.0.1:5432", "[::1]:5432", "[fe80::1%eth0]:5432", "localhost:5432"
// (127.0.0.1 and ::1), "unix:/run/pgveil/.s.PGSQL.5432" or "unix:@pgveil" (short for
// "unix:@pgveil/.s.PGSQL.5432").
struct ListenAddress {
  using Value = SocketAddress;
  [[nodiscard]] static std::string type() { return "address"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value);
};

// The address of an HTTP server, or none: as a ListenAddress, but with any path for a Unix socket, and without names in the
// abstract namespace, which have no permissions.
struct AdminAddress {
  using Value = std::optional<SocketAddress>;
  [[nodiscard]] static std::string type() { return "address"; }
  [[nodiscard]] static Read<SocketAddress> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value) {
    return value ? ListenAddress::show(*value) : "";
  }
};

// libpq's comma lists. An element of the first two may be empty where the other has one.
struct HostList {
  using Value = std::vector<std::string>;
  [[nodiscard]] static std::string type() { return "string, comma list"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value) { return joined(value); }
};

// What clients may call a server by SNI: "db.example.com", or "*.example.com" for one label in front.
struct ServerNameList {
  using Value = std::vector<std::string>;
  [[nodiscard]] static std::string type() { return "string, comma list"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value) { return joined(value); }
};

struct NumericAddressList {
  using Value = std::vector<std::string>;
  [[nodiscard]] static std::string type() { return "string, comma list"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value) { return joined(value); }
};

// Networks of proxies: ["10.0.0.0/8", "fd00::7"], or "unix" for the clients of a Unix socket.
struct ProxyList {
  using Value = TrustedProxies;
  [[nodiscard]] static std::string type() { return "array of strings, or string with a comma list"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value);
};

struct PortList {
  using Value = std::vector<std::uint16_t>;
  [[nodiscard]] static std::string type() { return "integer, or string with a comma list"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value);
};

// What --upstream takes: host and port of each server in one word, "db01:5432,[::1]:5433,/run/postgresql".
struct HostsAndPorts {
  std::vector<std::string> hosts;
  std::vector<std::uint16_t> ports;
};
[[nodiscard]] Read<HostsAndPorts> read_hosts_and_ports(const RawValue& raw);

}  // namespace pgveil::proxy::values
