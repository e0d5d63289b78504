// The PROXY protocol: a header in front of a connection, in which a proxy tells the address of its client. Versions 1
// (text) and 2 (binary) are read, version 2 is written. Source: HAProxy, doc/proxy-protocol.txt, sections 2.1 and 2.2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "protocol/bytes.h"
#include "protocol/hba.h"

namespace pgveil::protocol {

// Section 2.1: the longest line of version 1, with its CRLF.
inline constexpr std::size_t kMaxProxyLineBytes = 107;
// The longest header of version 2, with its first 16 bytes. Section 2.2 allows 65,551 bytes, and says that a header is
// always smaller than a TCP segment. Addresses need 216 bytes at most; the rest is for TLVs.
inline constexpr std::size_t kMaxProxyHeaderBytes = 4096;

struct ProxyEndpoint {
  IpAddress address;
  std::uint16_t port = 0;
  bool operator==(const ProxyEndpoint&) const = default;
};

struct ProxyAddresses {
  ProxyEndpoint source;       // of the client
  ProxyEndpoint destination;  // to which the client has connected
  bool operator==(const ProxyAddresses&) const = default;
};

struct ProxyHeader {
  // nullopt: the header tells no address of TCP, because it is LOCAL, UNKNOWN or UNSPEC, or for a Unix socket. The
  // addresses of the connection itself apply.
  std::optional<ProxyAddresses> addresses;
};

// Why bytes are not a header that is accepted.
enum class ProxyHeaderDefect {
  not_a_header,   // other bytes than "PROXY " or the signature of version 2
  bad_line,       // version 1: an unknown protocol, an invalid address or port, or another byte than text
  line_too_long,  // version 1: no CRLF in the first 107 bytes
  unsupported_version,  // version 2 has another number
  unsupported_command,  // version 2: neither LOCAL nor PROXY
  unsupported_family,   // version 2: datagrams, or a value that is not assigned
  too_long,             // version 2: more than kMaxProxyHeaderBytes
  bad_addresses,        // version 2: the length has no room for the addresses of the family
  bad_tlv,              // version 2: a TLV that exceeds the header, or a checksum of the wrong size
  bad_checksum,         // version 2: the header does not have the value of its TLV CRC32C
};
// Returns a sentence for the log.
[[nodiscard]] std::string_view describe(ProxyHeaderDefect defect);

// Returns whether the first byte is that of a header. No startup packet, and no TLS record, begins with it.
[[nodiscard]] bool begins_proxy_header(std::uint8_t first_byte);

// Decodes a header from the front of `in`, and advances `in` past it only if the whole header is there. nullopt: more
// bytes are needed. Returns a defect as soon as a byte cannot belong to a header.
[[nodiscard]] tl::expected<std::optional<ProxyHeader>, ProxyHeaderDefect> decode_proxy_header(ByteReader& in);

// The client's TLS, as the TLVs describe it.
struct ProxyTls {
  std::string_view version;      // "TLSv1.3"
  std::string_view cipher;       // "TLS_AES_256_GCM_SHA384"
  std::string_view protocol;     // agreed by ALPN, for PP2_TYPE_ALPN; empty: none
  std::string_view server_name;  // in the client's SNI, for PP2_TYPE_AUTHORITY; empty: none
  bool has_certificate = false;  // the client has presented one, and it was verified
  std::string_view common_name;  // of the certificate, in UTF-8; empty: none
};

// Appends a header of version 2. If one address is of IPv4 and the other of IPv6, both are sent as IPv6, as HAProxy does.
// Without addresses the command is LOCAL.
void encode_proxy_header(const ProxyHeader& header, const std::optional<ProxyTls>& tls, Bytes& out);

}  // namespace pgveil::protocol
