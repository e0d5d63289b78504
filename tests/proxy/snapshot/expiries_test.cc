#include "proxy/snapshot/expiries.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/certificates.h"

namespace pgveil::proxy {
namespace {

// "KIND SUBJECT FILE" of each, with the file's name alone.
std::vector<std::string> found_in(const Config& config) {
  std::vector<std::string> found;
  for (const tls::Expiry& expiry : expiries_of(config))
    found.push_back(std::string(tls::name_of(expiry.kind)) + ' ' + expiry.subject + ' ' +
                    std::filesystem::path(expiry.file).filename().string());
  return found;
}

class Expiries : public testing::Test {
 protected:
  Expiries() {
    folder_.write("ca.crt", root_.certificate_pem());
    folder_.write("ca.crl", test::crl_pem(root_, {}));
    folder_.write(test::crl_file_name(root_), test::crl_pem(root_, {}));
    folder_.write("app.crt", leaf("app"));
    folder_.write("app.key", "not read");
    folder_.write("billing.crt", leaf("billing"));
  }
  std::string leaf(const std::string& name) {
    test::CertificateRequest request;
    request.common_names = {name};
    return test::issued_by(root_, request).certificate_pem();
  }

  test::TemporaryFolder folder_;
  const test::Identity root_ = test::authority("root");
};

TEST_F(Expiries, AreThoseOfListenersAndUpstreams) {
  Config config;
  config.listeners.resize(1);
  config.listeners[0].tls.certificates.emplace_back().ssl_cert_file = folder_.path("app.crt");
  config.listeners[0].tls.ssl_ca_file = folder_.path("ca.crt");
  config.listeners[0].tls.ssl_crl_file = folder_.path("ca.crl");
  UpstreamConfig& upstream = config.upstreams["a"];
  upstream.hosts.resize(1);
  upstream.hosts[0].host = "db01";
  upstream.tls.sslrootcert = folder_.path("ca.crt");
  upstream.tls.sslcert = folder_.path("billing.crt");
  EXPECT_EQ(found_in(config),
            (std::vector<std::string>{"certificate CN=app app.crt", "authority CN=root ca.crt",
                                      "crl CN=root ca.crl", "certificate CN=billing billing.crt"}));
}

TEST_F(Expiries, AreThoseOfDirectories) {
  Config config;
  UpstreamConfig& upstream = config.upstreams["a"];
  upstream.hosts.resize(1);
  upstream.hosts[0].host = "db01";
  upstream.tls.sslrootcert = std::string(tls::kSystemTrust);
  upstream.tls.sslcrldir = folder_.path("");
  upstream.role_certificates = folder_.path("");
  EXPECT_EQ(found_in(config), (std::vector<std::string>{
                                  "crl CN=root " + test::crl_file_name(root_), "certificate CN=app app.crt",
                                  "certificate CN=billing billing.crt", "certificate CN=root ca.crt"}));
}

TEST_F(Expiries, AreNotThoseOfAnUpstreamWithoutTls) {
  Config config;
  UpstreamConfig& upstream = config.upstreams["a"];
  upstream.hosts.resize(1);
  upstream.hosts[0].host = "/run";
  upstream.tls.sslcert = folder_.path("app.crt");
  EXPECT_TRUE(found_in(config).empty());
}

}  // namespace
}  // namespace pgveil::proxy
