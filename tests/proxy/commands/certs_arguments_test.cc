#include "proxy/commands/certs_arguments.h"

#include <gtest/gtest.h>

#include "tests/proxy/commands/invocations.h"

namespace pgveil::proxy {
namespace {

using Action = CertsRequest::Action;

CertsRequest request_of(const Words& words) {
  return understood(Words{"certs"} + words).certs;
}
std::string errors_of(const Words& words) {
  const auto ending = ending_of(Words{"certs"} + words);
  EXPECT_EQ(ending.exit_code, kExitUsage) << ending.errors;
  return ending.errors;
}

TEST(CertsArguments, DescribeAnAuthority) {
  const auto plain = request_of({"ca"});
  EXPECT_EQ(plain.action, Action::ca);
  EXPECT_EQ(plain.directory, "certs");
  EXPECT_EQ(plain.name, "");
  EXPECT_EQ(plain.key, tls::NewKey::p256);
  EXPECT_FALSE(plain.days);
  const auto full =
      request_of({"ca", "--dir", "pki", "--name", "Our CA", "--key", "rsa:3072", "--days", "30"});
  EXPECT_EQ(full.directory, "pki");
  EXPECT_EQ(full.name, "Our CA");
  EXPECT_EQ(full.key, tls::NewKey::rsa3072);
  EXPECT_EQ(full.days, 30);
}

TEST(CertsArguments, DescribeAServer) {
  const auto request = request_of({"server", "--host", "DB01", "--host", "*.example.com", "--host", "db01",
                                   "--ip", "::1", "--out", "x/server"});
  EXPECT_EQ(request.certificate.role, tls::NewCertificate::Role::server);
  EXPECT_EQ(request.certificate.dns_names, (Words{"db01", "*.example.com"}));
  EXPECT_EQ(request.certificate.ip_addresses.size(), 1U);
  EXPECT_EQ(request.certificate.common_name, "db01");
  EXPECT_EQ(request.output, "x/server");
}

TEST(CertsArguments, DescribeAClient) {
  const auto request = request_of({"client", "--user", "billing", "--spiffe", "spiffe://prod/billing",
                                   "--email", "a@b", "--email", "c@d", "--host", "app01"});
  EXPECT_EQ(request.certificate.role, tls::NewCertificate::Role::client);
  EXPECT_EQ(request.certificate.common_name, "billing");
  EXPECT_EQ(request.certificate.uris, Words{"spiffe://prod/billing"});
  EXPECT_EQ(request.certificate.emails, (Words{"a@b", "c@d"}));
  EXPECT_EQ(request.certificate.dns_names, Words{"app01"});
  EXPECT_EQ(request.output, "billing");
}

TEST(CertsArguments, NameTheFilesOfAServerByItsFirstName) {
  EXPECT_EQ(request_of({"server", "--ip", "192.0.2.1", "--host", "DB01"}).output, "db01");
  EXPECT_EQ(request_of({"server", "--host", "*.example.com"}).output, "wildcard.example.com");
  const auto address = request_of({"server", "--ip", "192.0.2.1"});
  EXPECT_EQ(address.output, "192.0.2.1");
  EXPECT_EQ(address.certificate.common_name, "192.0.2.1");
}

TEST(CertsArguments, LeaveTheCommonNameEmptyIfNoNameFits) {
  const std::string name = std::string(60, 'a') + ".example.com";
  EXPECT_EQ(request_of({"server", "--host", name}).certificate.common_name, "");
  EXPECT_EQ(request_of({"server", "--host", name, "--host", "db01"}).certificate.common_name, "db01");
}

TEST(CertsArguments, TakeTheDirectoryOfAFileForThatOfItsAuthority) {
  EXPECT_EQ(request_of({"renew", "a/b.crt"}).directory, "");
  EXPECT_EQ(request_of({"revoke", "a/b.crt", "c/d.crt"}).files, (Words{"a/b.crt", "c/d.crt"}));
  EXPECT_EQ(request_of({"renew", "a/b.crt", "--dir", "pki"}).directory, "pki");
  EXPECT_EQ(request_of({"crl"}).directory, "certs");
}

TEST(CertsArguments, TakeSerialsAsOtherProgramsPrintThem) {
  const auto request = request_of({"revoke", "--serial", "0A:1B", "--serial", "000a1", "--serial", "7f"});
  EXPECT_EQ(request.serials, (Words{"0a1b", "a1", "7f"}));
  EXPECT_EQ(request.directory, "certs");
  EXPECT_EQ(request_of({"revoke", "a/b.crt", "--serial", "1"}).directory, "");
  for (const char* serial : {"0", "x", "0x1", "12 34"})
    EXPECT_PRED_FORMAT2(testing::IsSubstring, "of --serial\n  hint: Use a number in hexadecimal",
                        errors_of({"revoke", std::string("--serial=") + serial}));
  errors_of({"revoke", "--serial=-1"});
  errors_of({"revoke", "--serial", std::string(41, '1')});
}

TEST(CertsArguments, AskForJson) {
  EXPECT_TRUE(request_of({"show", "--json", "a"}).as_json);
  EXPECT_FALSE(request_of({"show", "a", "b"}).as_json);
}

TEST(CertsArguments, AreRefusedIfAValueIsWrong) {
  const auto is_in = [](const char* text, const Words& words) {
    EXPECT_PRED_FORMAT2(testing::IsSubstring, text, errors_of(words));
  };
  is_in("certs server requires --host or --ip\n  hint: For example: pgveil certs server --host", {"server"});
  is_in("certs client requires --user", {"client"});
  is_in("certs renew requires a file", {"renew"});
  is_in("certs renew takes one file", {"renew", "a", "b"});
  is_in("certs show requires a file", {"show"});
  for (const char* days : {"0", "-1", "36501", "x", "1d"})
    is_in("of --days\n  hint: Use 1 to 36500.", {"ca", std::string("--days=") + days});
  is_in("invalid value \"rsa\" of --key\n  hint: Use p256, rsa:2048,", {"ca", "--key", "rsa"});
  is_in("\"a/b\" cannot be the name of a file\n  hint: Write --out", {"client", "--user", "a/b"});
  is_in("\".a\" cannot be the name of a file", {"client", "--user", ".a"});
  is_in("invalid value \"x.crt\" of --out", {"client", "--user", "a", "--out", "x.crt"});
  is_in("invalid value \"x/\" of --out", {"client", "--user", "a", "--out", "x/"});
  is_in("are the files of the authority", {"client", "--user", "ca"});
  is_in("Run \"pgveil certs client --help\"", {"client", "--user", "a", "--spiffe", "x"});
}

TEST(CertsArguments, HaveHelpForEachCommand) {
  EXPECT_PRED_FORMAT2(testing::IsSubstring, "Usage: pgveil certs COMMAND [OPTION]...",
                      ending_of({"certs", "--help"}).output);
  for (const char* action : {"ca", "server", "client", "renew", "revoke", "crl", "show"}) {
    const auto help = ending_of({"certs", action, "--help"});
    EXPECT_EQ(help.exit_code, kExitOk);
    EXPECT_PRED_FORMAT2(testing::IsSubstring, std::string("Usage: pgveil certs ") + action, help.output);
    EXPECT_PRED_FORMAT2(testing::IsSubstring, "73 a file exists", help.output);
    EXPECT_PRED_FORMAT2(testing::IsSubstring, std::string("Example:\n  pgveil certs ") + action, help.output);
  }
}

}  // namespace
}  // namespace pgveil::proxy
