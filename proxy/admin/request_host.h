// Which host names a request to the admin address may be for. A web page of an attacker can let its own name have the
// address 127.0.0.1 (DNS rebinding); for the browser, the admin address then has the same origin as that page. The header
// field Host has the attacker's name.
#pragma once

#include <cstdint>
#include <string_view>

#include "proxy/config/config.h"

namespace pgveil::proxy {

enum class AcceptedHosts : std::uint8_t {
  any,
  local,  // localhost, IP addresses, and requests without the header field Host
};

// A browser cannot connect to a Unix socket, and an address in the network has names that pgveil does not know.
[[nodiscard]] AcceptedHosts accepted_hosts(const AdminConfig& config);

// `host`: the value of the header field Host, with or without a port; empty: not sent.
[[nodiscard]] bool accepts(AcceptedHosts hosts, std::string_view host);

}  // namespace pgveil::proxy
