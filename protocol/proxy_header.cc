#include "protocol/proxy_header.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <limits>
#include <utility>

namespace pgveil::protocol {
namespace {

using Defect = ProxyHeaderDefect;
using DecodedHeader = tl::expected<std::optional<ProxyHeader>, Defect>;

constexpr std::string_view kLineStart = "PROXY ";
constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::size_t kFixedBytes = 16;  // signature, version and command, family, length

// Values of section 2.2.
constexpr std::uint8_t kVersion2 = 0x20;
constexpr std::uint8_t kLocal = 0x0;
constexpr std::uint8_t kProxy = 0x1;
constexpr std::uint8_t kUnspecified = 0x00;
constexpr std::uint8_t kTcp4 = 0x11;
constexpr std::uint8_t kTcp6 = 0x21;
constexpr std::uint8_t kUnixStream = 0x31;
constexpr std::uint8_t kTlvAlpn = 0x01;
constexpr std::uint8_t kTlvAuthority = 0x02;
constexpr std::uint8_t kTlvCrc32c = 0x03;
constexpr std::uint8_t kTlvSsl = 0x20;
constexpr std::uint8_t kTlvSslVersion = 0x21;
constexpr std::uint8_t kTlvSslCommonName = 0x22;
constexpr std::uint8_t kTlvSslCipher = 0x23;
constexpr std::uint8_t kClientSsl = 0x01;
constexpr std::uint8_t kClientCertificateConnection = 0x02;
constexpr std::uint8_t kClientCertificateSession = 0x04;
constexpr std::uint32_t kVerified = 0;
constexpr std::uint32_t kNotVerified = 1;

constexpr std::size_t kIpv4Bytes = 4;
constexpr std::size_t kIpv6Bytes = 16;
constexpr std::size_t kPortsBytes = 4;
constexpr std::size_t kTcp4Bytes = (2 * kIpv4Bytes) + kPortsBytes;
constexpr std::size_t kTcp6Bytes = (2 * kIpv6Bytes) + kPortsBytes;
constexpr std::size_t kUnixBytes = 216;
// A longer name of a certificate or of SNI is not sent, so that the header stays below the limit of receivers.
constexpr std::size_t kMaxNameTlvBytes = 1024;

// Returns whether one of the two texts begins with the other.
bool agree(std::string_view text, std::string_view expected) {
  const std::size_t size = std::min(text.size(), expected.size());
  return text.substr(0, size) == expected.substr(0, size);
}

// Version 1.

std::optional<std::uint16_t> read_port(std::string_view text) {
  std::uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, port);
  const bool has_leading_zero = text.size() > 1 && text.front() == '0';
  if (error != std::errc() || rest != end || has_leading_zero) return std::nullopt;
  return port;
}

// Takes the text up to the next space from the front of `line`. nullopt: there is no space.
std::optional<std::string_view> next_field(std::string_view& line) {
  const auto end = line.find(' ');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view field = line.substr(0, end);
  line.remove_prefix(end + 1);
  return field;
}

std::optional<ProxyAddresses> read_line_addresses(std::string_view fields, bool is_ipv6) {
  const auto source = next_field(fields);
  const auto destination = next_field(fields);
  const auto source_port = next_field(fields);
  if (!source || !destination || !source_port) return std::nullopt;
  const auto from = parse_ip_address(*source);
  const auto to = parse_ip_address(*destination);
  const auto from_port = read_port(*source_port);
  const auto to_port = read_port(fields);
  if (!from || !to || !from_port || !to_port) return std::nullopt;
  if (from->is_ipv6 != is_ipv6 || to->is_ipv6 != is_ipv6) return std::nullopt;
  return ProxyAddresses{.source = {*from, *from_port}, .destination = {*to, *to_port}};
}

// Decodes the text between "PROXY " and CRLF.
DecodedHeader decode_line(std::string_view line) {
  if (line == "UNKNOWN" || line.starts_with("UNKNOWN ")) return ProxyHeader{};
  for (const auto& [protocol, is_ipv6] : {std::pair{std::string_view("TCP4 "), false}, {"TCP6 ", true}}) {
    if (!line.starts_with(protocol)) continue;
    const auto addresses = read_line_addresses(line.substr(protocol.size()), is_ipv6);
    if (!addresses) break;
    return ProxyHeader{.addresses = addresses};
  }
  return tl::unexpected(Defect::bad_line);
}

bool is_printable(char c) {
  return c >= ' ' && c <= '~';
}

// `in` begins with "PROXY ", or with a part of it.
DecodedHeader decode_version_1(ByteReader& in) {
  static constexpr std::array<std::string_view, 4> kStarts{"TCP4 ", "TCP6 ", "UNKNOWN ", "UNKNOWN\r\n"};
  const std::string_view line = as_text(in.rest()).substr(0, kMaxProxyLineBytes);
  if (line.size() <= kLineStart.size()) return std::nullopt;
  const std::string_view rest = line.substr(kLineStart.size());
  const auto agrees = [rest](std::string_view start) { return agree(rest, start); };
  if (std::none_of(kStarts.begin(), kStarts.end(), agrees)) return tl::unexpected(Defect::bad_line);

  const auto end =
      static_cast<std::size_t>(std::find_if_not(rest.begin(), rest.end(), is_printable) - rest.begin());
  if (!agree(rest.substr(end), "\r\n")) return tl::unexpected(Defect::bad_line);
  if (rest.size() >= end + 2) {
    auto header = decode_line(rest.substr(0, end));
    if (header) static_cast<void>(in.read_bytes(kLineStart.size() + end + 2));
    return header;
  }
  if (line.size() == kMaxProxyLineBytes) return tl::unexpected(Defect::line_too_long);
  return std::nullopt;
}

// Version 2.

std::uint16_t read_uint16(ByteView bytes, std::size_t place) {
  return static_cast<std::uint16_t>((bytes[place] << 8U) | bytes[place + 1]);
}

// CRC-32C (RFC 4960, Appendix B), of one more byte.
std::uint32_t crc32c(std::uint32_t crc, std::uint8_t byte) {
  constexpr std::uint32_t kReversedPolynomial = 0x82f6'3b78;
  crc ^= byte;
  for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? kReversedPolynomial : 0);
  return crc;
}

// Returns the checksum of the header with zeros in place of its four bytes at `place`.
std::uint32_t checksum_of(ByteView header, std::size_t place) {
  std::uint32_t crc = ~std::uint32_t{0};
  for (std::size_t i = 0; i < header.size(); ++i)
    crc = crc32c(crc, i >= place && i < place + sizeof crc ? 0 : header[i]);
  return ~crc;
}

// Checks that the TLVs from `place` on fill the header, and its checksum.
std::optional<Defect> check_tlvs(ByteView header, std::size_t place) {
  constexpr std::size_t kTlvStart = 3;  // type and length
  while (place < header.size()) {
    if (header.size() - place < kTlvStart) return Defect::bad_tlv;
    const std::size_t length = read_uint16(header, place + 1);
    const std::size_t value = place + kTlvStart;
    if (length > header.size() - value) return Defect::bad_tlv;
    if (header[place] == kTlvCrc32c) {
      if (length != sizeof(std::uint32_t)) return Defect::bad_tlv;
      if (ByteReader(header.subspan(value, length)).read_uint32() != checksum_of(header, value))
        return Defect::bad_checksum;
    }
    place = value + length;
  }
  return std::nullopt;
}

IpAddress read_address(ByteView bytes, bool is_ipv6) {
  IpAddress address{.is_ipv6 = is_ipv6};
  std::copy(bytes.begin(), bytes.end(), address.bytes.begin());
  return address;
}

ProxyAddresses read_addresses(ByteView block, bool is_ipv6) {
  const std::size_t size = is_ipv6 ? kIpv6Bytes : kIpv4Bytes;
  const std::size_t ports = 2 * size;
  return {.source = {read_address(block.first(size), is_ipv6), read_uint16(block, ports)},
          .destination = {read_address(block.subspan(size, size), is_ipv6), read_uint16(block, ports + 2)}};
}

// Returns the size of the addresses of a family. nullopt: the family is not supported.
std::optional<std::size_t> address_bytes(std::uint8_t family) {
  switch (family) {
    case kUnspecified: return 0;
    case kTcp4: return kTcp4Bytes;
    case kTcp6: return kTcp6Bytes;
    case kUnixStream: return kUnixBytes;
    default: return std::nullopt;
  }
}

// Checks the part of the first 16 bytes that has arrived.
std::optional<Defect> check_fixed_part(ByteView bytes) {
  constexpr std::size_t kCommandPlace = 12;
  constexpr std::size_t kFamilyPlace = 13;
  constexpr std::size_t kLengthPlace = 14;
  if (!agree(as_text(bytes), kSignature)) return Defect::not_a_header;
  if (bytes.size() <= kCommandPlace) return std::nullopt;
  if ((bytes[kCommandPlace] & 0xf0U) != kVersion2) return Defect::unsupported_version;
  const std::uint8_t command = bytes[kCommandPlace] & 0x0fU;
  if (command != kLocal && command != kProxy) return Defect::unsupported_command;
  if (bytes.size() <= kFamilyPlace) return std::nullopt;
  const auto addresses = command == kLocal ? 0 : address_bytes(bytes[kFamilyPlace]);
  if (!addresses) return Defect::unsupported_family;
  if (bytes.size() < kFixedBytes) return std::nullopt;
  const std::size_t length = read_uint16(bytes, kLengthPlace);
  if (length > kMaxProxyHeaderBytes - kFixedBytes) return Defect::too_long;
  if (length < *addresses) return Defect::bad_addresses;
  return std::nullopt;
}

// LOCAL is for the proxy's own connections, such as health checks, and HAProxy sends it for clients of Unix sockets. Its
// family, addresses and TLVs are ignored, as section 2.2 demands. UNSPEC does not say where its TLVs begin.
DecodedHeader decode_version_2(ByteReader& in) {
  const ByteView bytes = in.rest();
  if (const auto defect = check_fixed_part(bytes)) return tl::unexpected(*defect);
  if (bytes.size() < kFixedBytes) return std::nullopt;
  const std::size_t size = kFixedBytes + read_uint16(bytes, 14);
  if (bytes.size() < size) return std::nullopt;
  const ByteView header = bytes.first(size);
  const std::uint8_t family = bytes[13];
  ProxyHeader decoded;
  if ((bytes[12] & 0x0fU) == kProxy && family != kUnspecified) {
    if (const auto defect = check_tlvs(header, kFixedBytes + *address_bytes(family)))
      return tl::unexpected(*defect);
    if (family != kUnixStream)
      decoded.addresses = read_addresses(header.subspan(kFixedBytes), family == kTcp6);
  }
  static_cast<void>(in.read_bytes(size));
  return decoded;
}

// Writing.

void write_uint16(ByteWriter& writer, std::size_t value) {
  assert(value <= std::numeric_limits<std::uint16_t>::max());
  writer.write_uint16(static_cast<std::uint16_t>(value));
}

void write_tlv(ByteWriter& writer, std::uint8_t type, ByteView value) {
  writer.write_uint8(type);
  write_uint16(writer, value.size());
  writer.write_bytes(value);
}

void write_name(ByteWriter& writer, std::uint8_t type, std::string_view name) {
  if (!name.empty() && name.size() <= kMaxNameTlvBytes) write_tlv(writer, type, as_bytes(name));
}

IpAddress mapped(const IpAddress& address) {
  if (address.is_ipv6) return address;
  IpAddress mapped{.is_ipv6 = true};
  mapped.bytes[10] = mapped.bytes[11] = 0xff;
  std::copy_n(address.bytes.begin(), kIpv4Bytes, mapped.bytes.begin() + 12);
  return mapped;
}

void write_addresses(ByteWriter& writer, const ProxyAddresses& addresses, bool is_ipv6) {
  for (const auto* end : {&addresses.source, &addresses.destination}) {
    const IpAddress address = is_ipv6 ? mapped(end->address) : end->address;
    writer.write_bytes(ByteView(address.bytes).first(is_ipv6 ? kIpv6Bytes : kIpv4Bytes));
  }
  write_uint16(writer, addresses.source.port);
  write_uint16(writer, addresses.destination.port);
}

Bytes ssl_value(const ProxyTls& tls) {
  Bytes value;
  ByteWriter writer(value);
  writer.write_uint8(tls.has_certificate
                         ? kClientSsl | kClientCertificateConnection | kClientCertificateSession
                         : kClientSsl);
  writer.write_uint32(tls.has_certificate ? kVerified : kNotVerified);
  write_name(writer, kTlvSslVersion, tls.version);
  write_name(writer, kTlvSslCommonName, tls.common_name);
  write_name(writer, kTlvSslCipher, tls.cipher);
  return value;
}

}  // namespace

std::string_view describe(ProxyHeaderDefect defect) {
  switch (defect) {
    case Defect::not_a_header: return "The first bytes are not a PROXY header.";
    case Defect::bad_line: return "The line of version 1 has an invalid protocol, address, port or end.";
    case Defect::line_too_long: return "The line of version 1 has no end within 107 bytes.";
    case Defect::unsupported_version: return "The header has an unknown version.";
    case Defect::unsupported_command: return "The command is neither LOCAL nor PROXY.";
    case Defect::unsupported_family:
      return "The header is for datagrams or for an unknown family of addresses.";
    case Defect::too_long: return "The header is longer than 4096 bytes.";
    case Defect::bad_addresses: return "The header is too short for its addresses.";
    case Defect::bad_tlv: return "A TLV of the header has an invalid length.";
    case Defect::bad_checksum: return "The checksum of the header is wrong.";
  }
  return "";
}

bool begins_proxy_header(std::uint8_t first_byte) {
  return first_byte == kLineStart.front() || first_byte == kSignature.front();
}

tl::expected<std::optional<ProxyHeader>, ProxyHeaderDefect> decode_proxy_header(ByteReader& in) {
  if (in.empty()) return std::nullopt;
  if (in.rest().front() == kSignature.front()) return decode_version_2(in);
  if (!agree(as_text(in.rest()), kLineStart)) return tl::unexpected(Defect::not_a_header);
  return decode_version_1(in);
}

void encode_proxy_header(const ProxyHeader& header, const std::optional<ProxyTls>& tls, Bytes& out) {
  Bytes content;
  ByteWriter inside(content);
  bool is_ipv6 = false;
  if (header.addresses) {
    is_ipv6 = header.addresses->source.address.is_ipv6 || header.addresses->destination.address.is_ipv6;
    write_addresses(inside, *header.addresses, is_ipv6);
  }
  if (tls) {
    write_name(inside, kTlvAlpn, tls->protocol);
    write_name(inside, kTlvAuthority, tls->server_name);
    write_tlv(inside, kTlvSsl, ssl_value(*tls));
  }
  ByteWriter writer(out);
  writer.write_bytes(as_bytes(kSignature));
  writer.write_uint8(kVersion2 | (header.addresses ? kProxy : kLocal));
  writer.write_uint8(!header.addresses ? kUnspecified : is_ipv6 ? kTcp6 : kTcp4);
  write_uint16(writer, content.size());
  writer.write_bytes(content);
}

}  // namespace pgveil::protocol
