// The immutable TLS policy for connections to a server. It is built once per configuration and shared by all
// connections and threads.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "tls/credentials.h"
#include "tls/failure.h"
#include "tls/settings.h"

// OpenSSL's own name for SSL_CTX, so that this header includes no header of OpenSSL.
struct ssl_ctx_st;

namespace pgveil::tls {

struct OwnCertificate;  // tls/internal/own_certificate.h
class KeyShares;        // tls/internal/key_shares.h

// The policy for connections to a server is always verify-full. The chain must end at a self-signed root of
// sslrootcert, every certificate of it is checked against the CRLs if any are set, and the leaf must be for
// the host (tls/host_name.h). A setting that cannot be loaded is an error; it is never ignored.
class ClientContext {
 public:
  // Returns the context, or all errors in the settings at once.
  [[nodiscard]] static tl::expected<std::shared_ptr<const ClientContext>, std::vector<SettingError>> build(
      const ClientSettings& settings);
  // Returns a copy of this context with another certificate of ours, for one of many roles. Everything else
  // is shared, so the copy costs only the memory of the certificate. `sslpassword` is the password of an
  // encrypted key.
  [[nodiscard]] tl::expected<std::shared_ptr<const ClientContext>, std::vector<SettingError>>
  with_certificate(const std::string& sslcert, const std::string& sslkey,
                   std::string_view sslpassword = {}) const;
  ~ClientContext();
  ClientContext(const ClientContext&) = delete;
  ClientContext& operator=(const ClientContext&) = delete;

  // Reasons why a server will refuse our own certificate, now or soon: it has expired, is not yet valid, or
  // expires within kExpiryNotice. They are determined when the context is built.
  [[nodiscard]] const std::vector<SettingError>& warnings() const { return warnings_; }
  // Verifies the chain that a server has sent in an earlier handshake for `host`, as a handshake would do now: with the
  // authorities and CRLs of this context, at the present time, and with the name in the certificate. Returns nullopt if
  // the chain is valid. May be called from any thread. Throws std::bad_alloc.
  [[nodiscard]] std::optional<FailureReport> verify(const PeerChain& server, const std::string& host) const;

 private:
  friend class Engine;
  // The checks of a connection that OpenSSL's context does not do, and the choice of the record layer.
  struct Rules {
    CommonNameRule common_name;
    PostQuantum post_quantum;
    bool own_records;  // our record layer for TLS 1.3, with the ciphers that it supports
    bool keep_peer_chain;
  };
  ClientContext(ssl_ctx_st* context, Rules rules, std::shared_ptr<KeyShares> key_shares,
                std::unique_ptr<const OwnCertificate> own, std::vector<SettingError> warnings);
  ssl_ctx_st* context_;  // shared ownership, with other contexts
  Rules rules_;
  std::shared_ptr<KeyShares> key_shares_;      // groups that servers have chosen; not policy, may change
  std::unique_ptr<const OwnCertificate> own_;  // replaces the certificate of context_; null: that one is used
  std::vector<SettingError> warnings_;
};

}  // namespace pgveil::tls
