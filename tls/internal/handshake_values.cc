#include "tls/internal/handshake_values.h"

#include <new>

#include "tls/internal/certificate_values.h"
#include "tls/internal/channel_binding.h"
#include "tls/internal/handshake_settings.h"
#include "tls/internal/policy.h"

namespace pgveil::tls {
namespace {

// Returns whether a client has sent its certificate: the server asked for one, and the client had one of an
// accepted type. OpenSSL has no direct query for it, but the client signs for a certificate that it sends.
bool has_signed(const SSL* ssl) {
  int signature = NID_undef;
  return SSL_get_signature_type_nid(ssl, &signature) == 1;
}

// A usual chain has 1 to 5 KiB. OpenSSL accepts 100 KiB.
constexpr std::size_t kMaxSentChainBytes = 16'384;

// Returns the leaf, and then the other certificates in `others`.
PeerChain chain_of(const X509* leaf, const STACK_OF(X509) * others) {
  PeerChain chain{der_of(leaf)};
  for (int i = 0; i < sk_X509_num(others); ++i)
    if (const X509* other = sk_X509_value(others, i); X509_cmp(other, leaf) != 0)
      chain.push_back(der_of(other));
  return chain;
}

std::size_t size_of(const PeerChain& chain) {
  std::size_t size = 0;
  for (const auto& certificate : chain) size += certificate.size();
  return size;
}

}  // namespace

Established describe(SSL* ssl) {
  Established result;
  result.version = SSL_get_version(ssl);
  result.cipher = SSL_get_cipher_name(ssl);
  const long group = SSL_get_negotiated_group(ssl);
  const char* group_name = group > 0 ? SSL_group_to_name(ssl, static_cast<int>(group)) : nullptr;
  result.group = group_name != nullptr ? group_name : "-";
  result.post_quantum = is_post_quantum(result.group);
  result.alpn_agreed = agreed_protocol(ssl) == kAlpnProtocol;
  const bool is_server = SSL_is_server(ssl) == 1;
  if (is_server) result.server_name = server_name(ssl);
  if (X509* own = SSL_get_certificate(ssl); own != nullptr && (is_server || has_signed(ssl)))
    result.own_sha256_fingerprint = fingerprint_of(own);
  X509* peer = SSL_get0_peer_certificate(ssl);
  if (peer != nullptr) result.peer = values_of(peer);
  X509* server = is_server ? SSL_get_certificate(ssl) : peer;
  auto& end_point = is_server ? result.own_end_point : result.peer_end_point;
  if (server != nullptr) end_point = server_end_point_of(server).value_or(std::vector<std::uint8_t>{});
  return result;
}

std::shared_ptr<const PeerChain> peer_chain(const SSL* ssl) {
  const X509* leaf = SSL_get0_peer_certificate(ssl);
  if (leaf == nullptr) return nullptr;
  PeerChain chain = chain_of(leaf, SSL_get_peer_cert_chain(ssl));
  if (size_of(chain) > kMaxSentChainBytes) chain = chain_of(leaf, SSL_get0_verified_chain(ssl));
  return std::make_shared<const PeerChain>(std::move(chain));
}

std::string_view agreed_protocol(const SSL* ssl) {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

std::string server_name(const SSL* ssl) {
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  return name == nullptr ? "" : name;
}

}  // namespace pgveil::tls
