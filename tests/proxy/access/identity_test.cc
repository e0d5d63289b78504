// Which names of a certificate a rule may use.
#include "proxy/access/identity.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

using protocol::CertificateName;
using Names = std::vector<std::string>;

tls::PeerCertificate certificate() {
  tls::PeerCertificate certificate;
  certificate.subject = "CN=app,O=Example";
  certificate.sha256_fingerprint = "00ff";
  certificate.common_names = {"app"};
  certificate.subject_is_text = true;
  certificate.dns_names = {"a.example.com", "b.example.com"};
  certificate.uris = {"spiffe://prod/app"};
  certificate.emails = {"app@example.com"};
  return certificate;
}

TEST(SystemUsers, AreWhatClientnameReads) {
  EXPECT_EQ(system_users(certificate(), CertificateName::common_name), Names{"app"});
  EXPECT_EQ(system_users(certificate(), CertificateName::distinguished_name), Names{"CN=app,O=Example"});
  EXPECT_EQ(system_users(certificate(), CertificateName::uri), Names{"spiffe://prod/app"});
  EXPECT_EQ(system_users(certificate(), CertificateName::dns), (Names{"a.example.com", "b.example.com"}));
  EXPECT_EQ(system_users(certificate(), CertificateName::email), Names{"app@example.com"});
  EXPECT_EQ(system_users(certificate(), CertificateName::fingerprint), Names{"00ff"});
}

TEST(SystemUsers, AreNoneWhereItIsNotCertainWhichNameIsMeant) {
  auto several = certificate();
  several.common_names = {"app", "admin"};
  EXPECT_EQ(system_users(several, CertificateName::common_name), Names{});
  auto none = certificate();
  none.common_names = {};
  EXPECT_EQ(system_users(none, CertificateName::common_name), Names{});
  auto no_text = certificate();
  no_text.subject_is_text = false;
  EXPECT_EQ(system_users(no_text, CertificateName::common_name), Names{});
  EXPECT_EQ(system_users(no_text, CertificateName::distinguished_name), Names{});
  EXPECT_EQ(system_users(no_text, CertificateName::uri), Names{"spiffe://prod/app"});
  auto no_subject = certificate();
  no_subject.subject = "";
  EXPECT_EQ(system_users(no_subject, CertificateName::distinguished_name), Names{});
}

struct Announced {
  const char* name;
  std::vector<std::pair<std::string, std::string>> parameters;
  ClientIdentityIn place;
  std::vector<std::pair<std::string, std::string>> expected;
  ClientIdentity identity = {"CN=a b", ""};
};
void PrintTo(const Announced& row, std::ostream* out) {
  *out << row.name;
}
class Announcement : public testing::TestWithParam<Announced> {};

TEST_P(Announcement, StandsWhereTheServerReadsItLast) {
  protocol::StartupMessage startup{protocol::kProtocol30, GetParam().parameters};
  announce_identity(startup, GetParam().identity, GetParam().place);
  EXPECT_EQ(startup.parameters, GetParam().expected);
}

// clang-format off
constexpr auto kName = ClientIdentityIn::application_name;
constexpr auto kOptions = ClientIdentityIn::options;
INSTANTIATE_TEST_SUITE_P(
    Identity, Announcement,
    testing::Values(
        Announced{"NoName", {{"user", "u"}}, kName, {{"user", "u"}, {"application_name", "CN=a b"}}},
        Announced{"Name", {{"application_name", "psql"}}, kName, {{"application_name", "psql [CN=a b]"}}},
        Announced{"LongName", {{"application_name", std::string(70, 'x')}}, kName, {{"application_name", std::string(54, 'x') + " [CN=a b]"}}},
        Announced{"TheLastSpellingCounts", {{"application_name", "a"}, {"Application_Name", "b"}}, kName, {{"application_name", "b [CN=a b]"}}},
        Announced{"NoOptions", {}, kOptions, {{"options", R"(-c pgveil.client_dn=CN=a\ b -c pgveil.system_user=)"}}},
        Announced{"Options", {{"options", "-c a=b"}}, kOptions, {{"options", R"(-c a=b -c pgveil.client_dn=CN=a\ b -c pgveil.system_user=)"}}},
        Announced{"ParametersOfTheSameNames", {{"PGVEIL.client_dn", "CN=x"}, {"pgveil.System_User", "x"}}, kOptions, {{"options", R"(-c pgveil.client_dn=CN=a\ b -c pgveil.system_user=)"}}},
        Announced{"TheNameThatIsMapped", {{"application_name", "psql"}}, kName, {{"application_name", "psql [spiffe://a]"}}, {"CN=a b", "spiffe://a"}},
        Announced{"TheNameThatIsMappedOfACertificateWithoutASubject", {}, kName, {{"application_name", "spiffe://a"}}, {"", "spiffe://a"}},
        Announced{"BothNames", {}, kOptions, {{"options", R"(-c pgveil.client_dn=CN=a\ b -c pgveil.system_user=spiffe://a)"}}, {"CN=a b", "spiffe://a"}},
        Announced{"NobodyInTheName", {{"application_name", "psql"}}, kName, {{"application_name", "psql"}}, {}},
        Announced{"NobodyInOptions", {{"pgveil.client_dn", "CN=x"}}, kOptions, {{"options", "-c pgveil.client_dn= -c pgveil.system_user="}}, {}}),
    [](const auto& row) { return std::string(row.param.name); });
// clang-format on

}  // namespace
}  // namespace pgveil::proxy
