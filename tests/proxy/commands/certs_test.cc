#include "proxy/commands/certs.h"

#include <gtest/gtest.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

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

TEST_F(Certs, AreRevokedWithAllThatHaveTheSameKey) {
  done(request(Action::ca), now_);
  done(client(), now_);
  CertsRequest other = client();
  other.output = "other";
  done(other, now_);
  const std::string first = certificate("billing.crt").serial;
  std::filesystem::copy_file(file("billing.crt"), file("old.crt"));
  done(on_file(Action::renew, "billing.crt"), now_ + 1);
  const std::string second = certificate("billing.crt").serial;
  EXPECT_PRED_FORMAT2(testing::IsSubstring, ", serial " + first + ", with the same key.\n",
                      done(on_file(Action::revoke, "billing.crt"), now_ + 2));
  ASSERT_EQ(crl().revoked.size(), 2U);
  // A CRL is in the order of its serial numbers, and these are random.
  const std::set<std::string> revoked = {crl().revoked[0].serial, crl().revoked[1].serial};
  EXPECT_EQ(revoked, (std::set<std::string>{first, second}));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "old.crt was revoked before.\n",
                      done(on_file(Action::revoke, "old.crt"), now_ + 3));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, " was revoked on ",
                      error(on_file(Action::renew, "old.crt"), now_ + 3, kExitNoInput));
}

TEST_F(Certs, ThatWereRenewedAreKnownEvenIfTheListIsNewer) {
  done(request(Action::ca), now_);
  done(client(), now_);
  std::filesystem::remove(file("ca.issued"));
  done(on_file(Action::renew, "billing.crt"), now_ + 1);
  done(on_file(Action::revoke, "billing.crt"), now_ + 2);
  EXPECT_EQ(crl().revoked.size(), 2U);
}

TEST_F(Certs, AreRevokedByTheirSerial) {
  done(request(Action::ca), now_);
  done(client(), now_);
  const std::string first = certificate("billing.crt").serial;
  done(on_file(Action::renew, "billing.crt"), now_);
  CertsRequest lost = request(Action::revoke);
  lost.serials = {first, "0a"};
  const std::string said = done(lost, now_);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "Revoked serial " + first + ": CN=billing, serial " + first,
                      said);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "note: serial 0a is not in ", said);
  EXPECT_EQ(crl().revoked.size(), 3U);
  lost.serials = {certificate("ca.crt").serial};
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "is the serial of the authority itself",
                      error(lost, now_, kExitNoInput));
}

TEST_F(Certs, AreNeitherIssuedNorRevokedWithADamagedListOfIssuedOnes) {
  done(request(Action::ca), now_);
  done(client(), now_);
  folder_.write("certs/ca.issued", "not a serial\n");
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "line 1 of ",
                      error(on_file(Action::revoke, "billing.crt"), now_, kExitNoInput));
  CertsRequest other = client();
  other.output = "other";
  error(other, now_, kExitNoInput);
  EXPECT_FALSE(std::filesystem::exists(file("other.key")));
}

TEST_F(Certs, ReportAListThatCannotBeRead) {
  done(request(Action::ca), now_);
  std::filesystem::create_directory(file("ca.revoked"));
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "ca.revoked\" cannot be read: Is a directory",
                      error(request(Action::crl), now_, kExitNoInput));
}

TEST_F(Certs, OfANewAuthorityHaveNoListsOfAFormerOne) {
  for (const char* list : {"ca.crl", "ca.revoked", "ca.issued"}) {
    std::filesystem::create_directories(directory_);
    folder_.write(std::string("certs/") + list, "");
    EXPECT_PRED_FORMAT2(testing::IsSubstring, std::string(list) + "\" exists already",
                        error(request(Action::ca), now_, kExitCannotCreate));
    EXPECT_FALSE(std::filesystem::exists(file("ca.key")));
    std::filesystem::remove(file(list));
  }
}

TEST_F(Certs, DoNotWaitForOtherProcessesForEver) {
  std::filesystem::create_directories(directory_);
  const auto lock = lock_directory(directory_);
  ASSERT_TRUE(lock.has_value());
  const auto other = lock_directory(directory_, std::chrono::milliseconds(0));
  ASSERT_FALSE(other.has_value());
  EXPECT_EQ(other.error().exit_code, kExitCannotCreate);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "another process has locked", other.error().error.text());
}

TEST_F(Certs, DoNotHaveTheNameOfTheirAuthority) {
  CertsRequest authority = request(Action::ca);
  authority.name = "billing";
  done(authority, now_);
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "\"billing\" is the name of the authority",
                      error(client(), now_, kExitUsage));
}

TEST_F(Certs, MayHaveALongName) {
  done(request(Action::ca), now_);
  CertsRequest server = client();
  server.output = std::string(251, 'a');
  done(server, now_);
  server.output += 'a';
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "Choose a shorter name for the files with --out.",
                      error(server, now_, kExitCannotCreate));
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
