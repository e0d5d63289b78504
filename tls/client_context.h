// The immutable policy of TLS connections to a server: built once per configuration, shared by all
// connections and threads.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "tls/credentials.h"
#include "tls/settings.h"

// OpenSSL's own name for SSL_CTX, so that this header needs none of OpenSSL's.
struct ssl_ctx_st;

namespace pgveil::tls {

struct OwnCertificate;  // tls/internal/own_certificate.h
class KeyShares;        // tls/internal/key_shares.h

// For connections to a server: always verify-full. The chain must end at a self-signed root of sslrootcert,
// every certificate of it is checked against the CRLs where any are set, and the leaf must be for the host
// (tls/host_name.h). A setting that cannot be loaded is a mistake and never ignored.
class ClientContext {
 public:
  // All mistakes at once.
  [[nodiscard]] static tl::expected<std::shared_ptr<const ClientContext>, std::vector<SettingMistake>> build(
      const ClientSettings& settings);
  // The same but for our own certificate, which replaces that of the settings: for one role of many. Costs
  // what the certificate does, since all else is shared. `sslpassword` is that of an encrypted key.
  [[nodiscard]] tl::expected<std::shared_ptr<const ClientContext>, std::vector<SettingMistake>>
  with_certificate(const std::string& sslcert, const std::string& sslkey,
                   std::string_view sslpassword = {}) const;
  ~ClientContext();
  ClientContext(const ClientContext&) = delete;
  ClientContext& operator=(const ClientContext&) = delete;

  // What will keep our own certificate from being accepted, now or soon: it has expired, is not yet valid, or
  // expires within kExpiryNotice. Judged when the context was built.
  [[nodiscard]] const std::vector<SettingMistake>& warnings() const { return warnings_; }

 private:
  friend class Engine;
  // How connections are judged, and whose their records are, beyond what OpenSSL's context does.
  struct Rules {
    CommonNameRule common_name;
    PostQuantum post_quantum;
    bool own_records;  // of TLS 1.3, with the ciphers that they know
  };
  ClientContext(ssl_ctx_st* context, Rules rules, std::shared_ptr<KeyShares> key_shares,
                std::unique_ptr<const OwnCertificate> own, std::vector<SettingMistake> warnings);
  ssl_ctx_st* context_;  // owned, with others
  Rules rules_;
  std::shared_ptr<KeyShares> key_shares_;      // what servers have taken; not policy, so it may change
  std::unique_ptr<const OwnCertificate> own_;  // shown in place of what context_ has; null: that
  std::vector<SettingMistake> warnings_;
};

}  // namespace pgveil::tls
