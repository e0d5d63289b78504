#include "protocol/proxy_header.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "tests/support/wire.h"

namespace pgveil::protocol {
namespace {

using test::repeated;
using test::operator""_wire;
using test::operator+;

const Bytes kSignature = "0d0a0d0a 000d0a 51554954 0a"_wire;
// 192.0.2.7:56324 to 198.51.100.9:5432
const Bytes kIpv4Block = "c0000207 c6336409 dc04 1538"_wire;
// [2001:db8::7]:56324 to [2001:db8::9]:5432
const Bytes kIpv6Block =
    "20010db8 00000000 00000000 00000007 20010db8 00000000 00000000 00000009 dc04 1538"_wire;

Bytes line(std::string_view text) {
  const ByteView bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

// Returns a header of version 2: the command and the family, and the block with its length.
Bytes version_2(const Bytes& command_and_family, const Bytes& block) {
  const auto size = static_cast<unsigned>(block.size());
  return kSignature + command_and_family +
         Bytes{static_cast<std::uint8_t>(size >> 8U), static_cast<std::uint8_t>(size)} + block;
}

ProxyAddresses addresses(std::string_view source, std::string_view destination) {
  return {.source = {*parse_ip_address(source), 56324},
          .destination = {*parse_ip_address(destination), 5432}};
}
const ProxyAddresses kIpv4 = addresses("192.0.2.7", "198.51.100.9");
const ProxyAddresses kIpv6 = addresses("2001:db8::7", "2001:db8::9");

struct Accepted {
  std::string name;
  Bytes bytes;
  std::optional<ProxyAddresses> addresses;
};
void PrintTo(const Accepted& row, std::ostream* out) {
  *out << row.name;
}
class AProxyHeader : public testing::TestWithParam<Accepted> {};

TEST_P(AProxyHeader, IsDecodedAndLeavesTheBytesAfterIt) {
  const Bytes bytes = GetParam().bytes + "00000008 04d2162f"_wire;
  ByteReader in(bytes);
  const auto header = decode_proxy_header(in);
  ASSERT_TRUE(header.has_value()) << describe(header.error());
  ASSERT_TRUE(header->has_value());
  EXPECT_EQ((*header)->addresses, GetParam().addresses);
  EXPECT_EQ(in.remaining(), 8u);
}

TEST_P(AProxyHeader, NeedsEachOfItsBytes) {
  for (std::size_t size = 0; size < GetParam().bytes.size(); ++size) {
    ByteReader in(ByteView(GetParam().bytes).first(size));
    const auto header = decode_proxy_header(in);
    ASSERT_TRUE(header.has_value()) << size << ": " << describe(header.error());
    EXPECT_FALSE(header->has_value()) << size;
    EXPECT_EQ(in.remaining(), size);
  }
}

TEST_P(AProxyHeader, IsKnownByItsFirstByte) {
  EXPECT_TRUE(begins_proxy_header(GetParam().bytes.front()));
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    ProxyHeader, AProxyHeader,
    testing::Values(
        Accepted{"LineOfIpv4", line("PROXY TCP4 192.0.2.7 198.51.100.9 56324 5432\r\n"), kIpv4},
        Accepted{"LineOfIpv6", line("PROXY TCP6 2001:db8::7 2001:db8::9 56324 5432\r\n"), kIpv6},
        Accepted{"LineWithoutAddress", line("PROXY UNKNOWN\r\n"), {}},
        Accepted{"LineWithIgnoredText", line("PROXY UNKNOWN ffff::1 whatever 1 2\r\n"), {}},
        Accepted{"LongestLine", line("PROXY UNKNOWN " + std::string(107 - 14 - 2, 'x') + "\r\n"), {}},
        Accepted{"Ipv4", version_2("2111"_wire, kIpv4Block), kIpv4},
        Accepted{"Ipv6", version_2("2121"_wire, kIpv6Block), kIpv6},
        Accepted{"UnixSocket", version_2("2131"_wire, repeated('/', 216)), {}},
        Accepted{"Unspecified", version_2("2100"_wire, ""_wire), {}},
        Accepted{"UnspecifiedWithABlock", version_2("2100"_wire, repeated(0xff, 100)), {}},
        Accepted{"Local", version_2("2000"_wire, ""_wire), {}},
        Accepted{"LocalWithAddresses", version_2("2011"_wire, kIpv4Block), {}},
        Accepted{"LocalWithAnotherFamily", version_2("20ff"_wire, "01"_wire), {}},
        Accepted{"WithTlvs", version_2("2111"_wire, kIpv4Block + "040000 0500 02 'ab' e0 0001 00"_wire), kIpv4},
        Accepted{"WithItsChecksum", version_2("2111"_wire, kIpv4Block + "030004 9e6dbf6f"_wire), kIpv4},
        Accepted{"UnixSocketWithTlv", version_2("2131"_wire, repeated(0, 216) + "040000"_wire), {}},
        Accepted{"Longest", version_2("2111"_wire, kIpv4Block + "04 0fe1"_wire + repeated(0, 4065)), kIpv4}),
    [](const auto& row) { return row.param.name; });
// clang-format on

struct RefusedHeader {
  std::string name;
  Bytes bytes;  // that are enough to refuse it
  ProxyHeaderDefect why;
};
void PrintTo(const RefusedHeader& row, std::ostream* out) {
  *out << row.name;
}
class ABadProxyHeader : public testing::TestWithParam<RefusedHeader> {};

TEST_P(ABadProxyHeader, IsRefused) {
  ByteReader in(GetParam().bytes);
  const auto header = decode_proxy_header(in);
  ASSERT_FALSE(header.has_value());
  EXPECT_EQ(header.error(), GetParam().why);
  EXPECT_FALSE(describe(header.error()).empty());
  EXPECT_EQ(in.remaining(), GetParam().bytes.size());
}

// More bytes cannot make it a header: an attacker cannot keep the connection by sending slowly.
TEST_P(ABadProxyHeader, IsRefusedWithItsLastByteAndNotBefore) {
  ByteReader in(ByteView(GetParam().bytes).first(GetParam().bytes.size() - 1));
  const auto header = decode_proxy_header(in);
  ASSERT_TRUE(header.has_value()) << describe(header.error());
  EXPECT_FALSE(header->has_value());
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(
    ProxyHeader, ABadProxyHeader,
    testing::Values(
        RefusedHeader{"StartupPacket", "00"_wire, ProxyHeaderDefect::not_a_header},
        RefusedHeader{"TlsRecord", "16"_wire, ProxyHeaderDefect::not_a_header},
        RefusedHeader{"OtherWord", line("PROB"), ProxyHeaderDefect::not_a_header},
        RefusedHeader{"WordWithoutSpace", line("PROXY\r"), ProxyHeaderDefect::not_a_header},
        RefusedHeader{"LowerCase", line("PROXY t"), ProxyHeaderDefect::bad_line},
        RefusedHeader{"OtherProtocol", line("PROXY TCP5"), ProxyHeaderDefect::bad_line},
        RefusedHeader{"NoProtocol", line("PROXY \r"), ProxyHeaderDefect::bad_line},
        RefusedHeader{"LineFeedAlone", line("PROXY UNKNOWN\n"), ProxyHeaderDefect::bad_line},
        RefusedHeader{"CarriageReturnAlone", line("PROXY UNKNOWN\rx"), ProxyHeaderDefect::bad_line},
        RefusedHeader{"ControlCharacter", line("PROXY UNKNOWN \t"), ProxyHeaderDefect::bad_line},
        RefusedHeader{"Nul", line(std::string("PROXY TCP4 1\0", 13)), ProxyHeaderDefect::bad_line},
        RefusedHeader{"UnknownWithMore", line("PROXY UNKNOWNS"), ProxyHeaderDefect::bad_line},
        RefusedHeader{"AddressMissing", line("PROXY TCP4\r"), ProxyHeaderDefect::bad_line},
        RefusedHeader{"PortMissing", line("PROXY TCP4 192.0.2.7 198.51.100.9 56324\r\n"), ProxyHeaderDefect::bad_line},
        RefusedHeader{"PortTooLarge", line("PROXY TCP4 192.0.2.7 198.51.100.9 65536 5432\r\n"), ProxyHeaderDefect::bad_line},
        RefusedHeader{"PortNegative", line("PROXY TCP4 192.0.2.7 198.51.100.9 -1 5432\r\n"), ProxyHeaderDefect::bad_line},
        RefusedHeader{"PortWithZero", line("PROXY TCP4 192.0.2.7 198.51.100.9 056 5432\r\n"), ProxyHeaderDefect::bad_line},
        RefusedHeader{"PortEmpty", line("PROXY TCP4 192.0.2.7 198.51.100.9 56324 \r\n"), ProxyHeaderDefect::bad_line},
        RefusedHeader{"TwoSpaces", line("PROXY TCP4  192.0.2.7 198.51.100.9 56324 5432\r\n"), ProxyHeaderDefect::bad_line},
        RefusedHeader{"FieldTooMany", line("PROXY TCP4 192.0.2.7 198.51.100.9 56324 5432 x\r\n"), ProxyHeaderDefect::bad_line},
        RefusedHeader{"NumberTooLarge", line("PROXY TCP4 192.0.2.256 198.51.100.9 56324 5432\r\n"), ProxyHeaderDefect::bad_line},
        RefusedHeader{"Ipv6AsIpv4", line("PROXY TCP4 2001:db8::7 2001:db8::9 56324 5432\r\n"), ProxyHeaderDefect::bad_line},
        RefusedHeader{"Ipv4AsIpv6", line("PROXY TCP6 192.0.2.7 198.51.100.9 56324 5432\r\n"), ProxyHeaderDefect::bad_line},
        RefusedHeader{"EndlessLine", line("PROXY UNKNOWN " + std::string(107 - 14, 'x')), ProxyHeaderDefect::line_too_long},
        RefusedHeader{"LineThatEndsTooLate", line("PROXY UNKNOWN " + std::string(107 - 14 - 1, 'x') + "\r"), ProxyHeaderDefect::line_too_long},
        RefusedHeader{"SignatureBroken", "0d0a0d0a 01"_wire, ProxyHeaderDefect::not_a_header},
        RefusedHeader{"SignatureBrokenAtItsEnd", "0d0a0d0a 000d0a 51554954 0d"_wire, ProxyHeaderDefect::not_a_header},
        RefusedHeader{"Version1InBinary", kSignature + "11"_wire, ProxyHeaderDefect::unsupported_version},
        RefusedHeader{"Version3", kSignature + "31"_wire, ProxyHeaderDefect::unsupported_version},
        RefusedHeader{"UnknownCommand", kSignature + "22"_wire, ProxyHeaderDefect::unsupported_command},
        RefusedHeader{"DatagramOfIpv4", kSignature + "2112"_wire, ProxyHeaderDefect::unsupported_family},
        RefusedHeader{"DatagramOfIpv6", kSignature + "2122"_wire, ProxyHeaderDefect::unsupported_family},
        RefusedHeader{"DatagramOfUnixSocket", kSignature + "2132"_wire, ProxyHeaderDefect::unsupported_family},
        RefusedHeader{"StreamWithoutFamily", kSignature + "2101"_wire, ProxyHeaderDefect::unsupported_family},
        RefusedHeader{"FamilyWithoutProtocol", kSignature + "2110"_wire, ProxyHeaderDefect::unsupported_family},
        RefusedHeader{"UnknownFamily", kSignature + "2141"_wire, ProxyHeaderDefect::unsupported_family},
        RefusedHeader{"OverTheLimit", kSignature + "2111 0ff1"_wire, ProxyHeaderDefect::too_long},
        RefusedHeader{"LargestLength", kSignature + "2111 ffff"_wire, ProxyHeaderDefect::too_long},
        RefusedHeader{"LargestLengthOfLocal", kSignature + "2000 ffff"_wire, ProxyHeaderDefect::too_long},
        RefusedHeader{"NoRoomForIpv4", kSignature + "2111 000b"_wire, ProxyHeaderDefect::bad_addresses},
        RefusedHeader{"NoRoomForIpv6", kSignature + "2121 0023"_wire, ProxyHeaderDefect::bad_addresses},
        RefusedHeader{"NoRoomForUnixSocket", kSignature + "2131 00d7"_wire, ProxyHeaderDefect::bad_addresses},
        RefusedHeader{"TlvWithoutLength", version_2("2111"_wire, kIpv4Block + "0400"_wire), ProxyHeaderDefect::bad_tlv},
        RefusedHeader{"TlvOverTheEnd", version_2("2111"_wire, kIpv4Block + "040002 00"_wire), ProxyHeaderDefect::bad_tlv},
        RefusedHeader{"LargestTlv", version_2("2121"_wire, kIpv6Block + "20ffff 00"_wire), ProxyHeaderDefect::bad_tlv},
        RefusedHeader{"ChecksumTooShort", version_2("2111"_wire, kIpv4Block + "030003 000000"_wire), ProxyHeaderDefect::bad_tlv},
        RefusedHeader{"WrongChecksum", version_2("2111"_wire, kIpv4Block + "030004 00000000"_wire), ProxyHeaderDefect::bad_checksum}),
    [](const auto& row) { return row.param.name; });
// clang-format on

Bytes encoded(const ProxyHeader& header, const std::optional<ProxyTls>& tls = std::nullopt) {
  Bytes bytes;
  encode_proxy_header(header, tls, bytes);
  return bytes;
}

TEST(AProxyHeaderForAServer, HasTheAddressesOfItsFamily) {
  EXPECT_EQ(encoded({kIpv4}), version_2("2111"_wire, kIpv4Block));
  EXPECT_EQ(encoded({kIpv6}), version_2("2121"_wire, kIpv6Block));
}

TEST(AProxyHeaderForAServer, MapsAnIpv4AddressBesideAnIpv6Address) {
  const auto block = "00000000 00000000 0000ffff c0000207 20010db8 00000000 00000000 00000009 dc04 1538"_wire;
  EXPECT_EQ(encoded({addresses("192.0.2.7", "2001:db8::9")}), version_2("2121"_wire, block));
}

TEST(AProxyHeaderForAServer, IsLocalWithoutAddresses) {
  EXPECT_EQ(encoded({}), version_2("2000"_wire, ""_wire));
}

TEST(AProxyHeaderForAServer, DescribesTheClientsTls) {
  const ProxyTls tls{
      .version = "TLSv1.3", .cipher = "AES", .protocol = "", .server_name = "", .common_name = ""};
  EXPECT_EQ(encoded({kIpv4}, tls), version_2("2111"_wire, kIpv4Block + "200015 01 00000001"
                                                                       "210007 'TLSv1.3' 230003 'AES'"_wire));
}

TEST(AProxyHeaderForAServer, DescribesTheClientsCertificate) {
  const ProxyTls tls{.version = "TLSv1.2",
                     .cipher = "AES",
                     .protocol = "pg",
                     .server_name = "db",
                     .has_certificate = true,
                     .common_name = "ann"};
  EXPECT_EQ(encoded({kIpv4}, tls),
            version_2("2111"_wire, kIpv4Block + "010002 'pg' 020002 'db' 20001b 07 00000000"
                                                "210007 'TLSv1.2' 220003 'ann' 230003 'AES'"_wire));
}

TEST(AProxyHeaderForAServer, IsNotLongerThanReceiversAccept) {
  const std::string long_name(65'000, 'x');
  const ProxyTls tls{.version = "TLSv1.3",
                     .cipher = "AES",
                     .protocol = "pg",
                     .server_name = long_name,
                     .has_certificate = true,
                     .common_name = long_name};
  const Bytes bytes = encoded({kIpv6}, tls);
  ByteReader in(bytes);
  const auto header = decode_proxy_header(in);
  ASSERT_TRUE(header && header->has_value());
  EXPECT_EQ((*header)->addresses, kIpv6);
  EXPECT_TRUE(in.empty());
}

}  // namespace
}  // namespace pgveil::protocol
