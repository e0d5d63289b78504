// A server with a certificate made at run time, and TLS contexts for both ends of a connection to it.
#pragma once

#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string_view>

#include "tests/support/certificates.h"
#include "tls/client_context.h"
#include "tls/server_context.h"

namespace pgveil::bench {

class Site {
 public:
  static constexpr const char* kHost = "db.example.com";

  explicit Site(test::KeyKind key = test::KeyKind::p256, tls::Version version = tls::Version::tls1_3)
      : root_(test::authority("Bench Root")), server_(test::issued_by(root_, request(key))) {
    tls::ClientSettings client;
    client.sslrootcert = folder_.write("root.crt", root_.certificate_pem());
    client.ssl_max_protocol_version = version;
    client.records = records();
    tls::ServerSettings server;
    server.certificates = {{.server_names = {},
                            .ssl_cert_file = folder_.write("server.crt", server_.certificate_pem()),
                            .ssl_key_file = folder_.write("server.key", server_.key_pem())}};
    server.records = records();
    client_context = built<tls::ClientContext>(client);
    server_context = built<tls::ServerContext>(server);
  }

  [[nodiscard]] std::string path(const char* file) const { return folder_.path(file); }

  std::shared_ptr<const tls::ClientContext> client_context;
  std::shared_ptr<const tls::ServerContext> server_context;

 private:
  // Returns the implementation of TLS records that pgveil's own variable selects: OpenSSL's for `openssl`, otherwise
  // pgveil's.
  static tls::Records records() {
    const char* word = std::getenv("PGVEIL_TLS_RECORDS");
    return word != nullptr && std::string_view(word) == "openssl" ? tls::Records::openssl : tls::Records::own;
  }
  static test::CertificateRequest request(test::KeyKind key) {
    test::CertificateRequest request;
    request.alternative_names = {test::dns(kHost)};
    request.key = key;
    return request;
  }
  template <class Context, class Settings>
  static std::shared_ptr<const Context> built(const Settings& settings) {
    auto context = Context::build(settings);
    if (!context) throw std::runtime_error(context.error().front().message);
    return *context;
  }

  test::TemporaryFolder folder_;
  test::Identity root_;
  test::Identity server_;
};

}  // namespace pgveil::bench
