#include "tls/internal/policy.h"

#include <array>
#include <cstdint>

namespace pgveil::tls {
namespace {

// The numbers are in the order of Version.
constexpr std::array kVersionNumbers{TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};

int number_of(Version version) {
  return kVersionNumbers[static_cast<std::size_t>(version)];
}

// SSL_OP_NO_TX_CERTIFICATE_COMPRESSION and SSL_OP_NO_RX_CERTIFICATE_COMPRESSION of OpenSSL 3.2. Older headers
// do not define them, but a program built with older headers may run with a newer library. Older libraries
// ignore both.
constexpr std::uint64_t kNoCertificateCompression = std::uint64_t{0b11} << 32U;
#ifdef SSL_OP_NO_TX_CERTIFICATE_COMPRESSION
static_assert(kNoCertificateCompression ==
              (SSL_OP_NO_TX_CERTIFICATE_COMPRESSION | SSL_OP_NO_RX_CERTIFICATE_COMPRESSION));
#endif

}  // namespace

void set_common_policy(SSL_CTX* context, Version min, std::optional<Version> max) {
  SSL_CTX_set_min_proto_version(context, number_of(min));
  SSL_CTX_set_max_proto_version(context, max ? number_of(*max) : 0);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
  // Certificate compression saves little, and a peer's certificate would be decompressed before it is
  // verified.
  SSL_CTX_set_options(context, kNoCertificateCompression);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  // Our own chain is complete (load_own_certificate()). Without this mode, OpenSSL would search for the rest
  // of the chain in every handshake, and check all signatures.
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
}

void warn_of_old_version(std::string_view setting, Version min, std::vector<SettingError>& warnings) {
  if (min >= Version::tls1_2) return;
  warnings.push_back({std::string(setting), std::string(name_of(min)) + " is no longer secure (RFC 8996)",
                      "Use TLSv1.2, the default, as soon as all peers support it."});
}

}  // namespace pgveil::tls
