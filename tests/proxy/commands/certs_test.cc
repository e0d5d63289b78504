#include "proxy/commands/certs.h"

#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "proxy/base/exit_code.h"
#include "tests/support/certificates.h"
#include "tls/stored_credentials.h"

namespace pgveil::proxy {
namespace {

using Action = CertsRequest::Action;

constexpr std::int64_t kDay = 86'400;

class Certs : public testing::Test {
 protected:
  [[nodiscard]] CertsRequest request(Action action) const {
    CertsRequest request;
    request.action = action;
    request.directory = directory_;
    return request;
  }
  [[nodiscard]] CertsRequest client() const {
    CertsRequest request = this->request(Action::client);
    request.certificate.role = tls::NewCertificate::Role::client;
    request.certificate.common_name = "billing";
    request.output = "billing";
    return request;
  }
  [[nodiscard]] CertsRequest on_file(Action action, const char* name) const {
    CertsRequest request = this->request(action);
    request.files = {file(name)};
    return request;
  }
  [[nodiscard]] std::string file(const char* name) const { return directory_ + '/' + name; }

  std::string done(const CertsRequest& request, std::int64_t when) {
    auto output = perform(request, when);
    if (output) return *std::move(output);
    ADD_FAILURE() << output.error().error.text();
    return "";
  }
  std::string error(const CertsRequest& request, std::int64_t when, int exit_code) {
    const auto output = perform(request, when);
    if (output) return "no error";
    EXPECT_EQ(output.error().exit_code, exit_code);
    return output.error().error.text();
  }
  [[nodiscard]] tls::PeerCertificate certificate(const char* name) const {
    return tls::read_stored_file(file(name))->certificates.at(0).values;
  }
  [[nodiscard]] tls::StoredCrl crl() const { return tls::read_stored_file(file("ca.crl"))->crls.at(0); }

  test::TemporaryFolder folder_;
  std::string directory_ = folder_.path("certs");
  std::int64_t now_ = std::time(nullptr);
};

TEST_F(Certs, HaveNamesThatNoOtherAuthorityHas) {
  done(request(Action::ca), now_);
  CertsRequest other = request(Action::ca);
  other.directory = folder_.path("other");
  done(other, now_);
  const auto first = certificate("ca.crt").subject;
  EXPECT_EQ(first.substr(0, 25), "CN=pgveil development CA ");
  EXPECT_NE(tls::read_stored_file(folder_.path("other/ca.crt"))->certificates.at(0).values.subject, first);
}

TEST_F(Certs, AreValidForAsLongAsIsAskedFor) {
  CertsRequest authority = request(Action::ca);
  authority.name = "Our CA";
  authority.days = 100;
  done(authority, now_);
  EXPECT_EQ(certificate("ca.crt").subject, "CN=Our CA");
  EXPECT_EQ(certificate("ca.crt").not_after, now_ + 100 * kDay);
  EXPECT_EQ(certificate("ca.crt").not_before, now_ - 3'600);
  CertsRequest billing = client();
  billing.days = 10;
  done(billing, now_);
  EXPECT_EQ(certificate("billing.crt").not_after, now_ + 10 * kDay);
  // A renewal keeps the number of days.
  done(on_file(Action::renew, "billing.crt"), now_ + 5 * kDay);
  EXPECT_EQ(certificate("billing.crt").not_after, now_ + 15 * kDay);
}

TEST_F(Certs, EndWithTheirAuthority) {
  CertsRequest authority = request(Action::ca);
  authority.days = 100;
  done(authority, now_);
  done(client(), now_ + 60 * kDay);
  EXPECT_EQ(certificate("billing.crt").not_after, now_ + 100 * kDay);
  done(request(Action::crl), now_ + 90 * kDay);
  EXPECT_EQ(crl().next_update, now_ + 100 * kDay);
  CertsRequest longer = client();
  longer.output = "longer";
  longer.days = 41;
  EXPECT_PRED_FORMAT2(testing::IsSubstring,
                      "Use 40 days or less, or first renew the authority: pgveil certs renew ",
                      error(longer, now_ + 60 * kDay, kExitUsage));
  EXPECT_FALSE(std::filesystem::exists(file("longer.key")));
}

TEST_F(Certs, AreNotMadeByAnAuthorityThatHasExpiredUntilItIsRenewed) {
  CertsRequest authority = request(Action::ca);
  authority.days = 100;
  done(authority, now_);
  const std::int64_t later = now_ + 101 * kDay;
  for (const CertsRequest& each : {client(), request(Action::crl)})
    EXPECT_PRED_FORMAT2(testing::IsSubstring, "the authority has expired on ",
                        error(each, later, kExitNoInput));
  done(on_file(Action::renew, "ca.crt"), later);
  EXPECT_EQ(certificate("ca.crt").not_after, later + 100 * kDay);
  done(client(), later);
}

TEST_F(Certs, AreNotMadeBeforeTheirAuthorityIsValid) {
  done(request(Action::ca), now_);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "the authority is not valid before ",
                      error(client(), now_ - kDay, kExitNoInput));
  done(client(), now_ - 1'800);
  EXPECT_EQ(certificate("billing.crt").not_before, now_ - 3'600);
}

TEST_F(Certs, NeedAnAuthority) {
  EXPECT_PRED_FORMAT2(testing::IsSubstring,
                      "Name its directory with --dir, or make one: pgveil certs ca --dir ",
                      error(client(), now_, kExitNoInput));
  CertsRequest renewal = on_file(Action::renew, "billing.crt");
  renewal.directory = "";
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "no authority in \"" + directory_ + '"',
                      error(renewal, now_, kExitNoInput));
}

TEST_F(Certs, ThatAreRevokedAreInEachLaterCrl) {
  done(request(Action::ca), now_);
  done(client(), now_);
  const std::string serial = certificate("billing.crt").serial;
  done(on_file(Action::revoke, "billing.crt"), now_ + 1);
  ASSERT_EQ(crl().revoked.size(), 1U);
  EXPECT_EQ(crl().revoked[0].serial, serial);
  EXPECT_EQ(crl().revoked[0].time, now_ + 1);
  EXPECT_EQ(crl().number, "1");
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "billing.crt was revoked before.\n",
                      done(on_file(Action::revoke, "billing.crt"), now_ + 2));
  done(request(Action::crl), now_ + 3);
  ASSERT_EQ(crl().revoked.size(), 1U);
  EXPECT_EQ(crl().revoked[0].time, now_ + 1);
  EXPECT_EQ(crl().number, "3");
  EXPECT_EQ(crl().next_update, now_ + 3 + 90 * kDay);
}

TEST_F(Certs, AreNotRevokedIfOneOfTheFilesIsWrong) {
  done(request(Action::ca), now_);
  done(client(), now_);
  CertsRequest both = on_file(Action::revoke, "billing.crt");
  both.files.push_back(file("ca.crt"));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "is the authority itself", error(both, now_, kExitNoInput));
  EXPECT_FALSE(std::filesystem::exists(file("ca.revoked")));
}

TEST_F(Certs, LeaveNoKeyIfTheCertificateCannotBeWritten) {
  done(request(Action::ca), now_);
  std::filesystem::create_directory(file("billing.crt"));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "exists already", error(client(), now_, kExitCannotCreate));
  EXPECT_FALSE(std::filesystem::exists(file("billing.key")));
}

std::string content_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST_F(Certs, AreNotRenewedInAFileThatWouldLoseItsKey) {
  done(request(Action::ca), now_);
  done(client(), now_);
  const std::string certificate = content_of(file("billing.crt")), key = content_of(file("billing.key"));
  const std::string encrypted =
      "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
  for (const std::string& both : {certificate + key, key + certificate, certificate + encrypted,
                                  certificate + content_of(file("ca.crt"))}) {
    folder_.write("certs/both.pem", both);
    EXPECT_PRED_FORMAT2(testing::IsSubstring, "is not a file of one certificate",
                        error(on_file(Action::renew, "both.pem"), now_, kExitNoInput));
    EXPECT_EQ(content_of(file("both.pem")), both);
  }
}

TEST_F(Certs, AreRenewedFromAFileOfOneCertificate) {
  done(request(Action::ca), now_);
  done(client(), now_);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "is not a file of one certificate",
                      error(on_file(Action::renew, "ca.key"), now_, kExitNoInput));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "cannot be read: No such file",
                      error(on_file(Action::renew, "x.crt"), now_, kExitNoInput));
}

TEST_F(Certs, AreShownWithTheDaysThatAreLeft) {
  done(request(Action::ca), now_);
  done(client(), now_);
  const auto shown = [&](std::int64_t when) { return done(on_file(Action::show, "billing.crt"), when); };
  EXPECT_PRED_FORMAT2(testing::IsSubstring, ", 365 days left\n", shown(now_));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, ", 1 day left\n", shown(now_ + 364 * kDay));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, ", 0 days left\n", shown(now_ + 365 * kDay));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, ", expired 2 days ago\n", shown(now_ + 367 * kDay));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, ", not valid yet\n", shown(now_ - kDay));
}

TEST_F(Certs, AreShownAsWhatTheyAreGoodFor) {
  done(request(Action::ca), now_);
  done(client(), now_);
  done(request(Action::crl), now_);
  const auto shown = [&](const char* name) { return done(on_file(Action::show, name), now_); };
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "ssl_ca_file: accepts clients", shown("ca.crt"));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "sslrootcert: trusts servers", shown("ca.crt"));
  EXPECT_PRED_FORMAT2(testing::IsNotSubstring, "clientname=", shown("ca.crt"));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "sslcert: a client", shown("billing.crt"));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "clientname=CN", shown("billing.crt"));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "ssl_crl_file, sslcrl", shown("ca.crl"));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "ssl_key_file, sslkey", shown("billing.key"));
}

}  // namespace
}  // namespace pgveil::proxy
