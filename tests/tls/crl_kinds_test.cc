// Each kind of CRL, in each setting for CRLs: an additional CRL never makes a revoked certificate acceptable.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <ostream>

#include "tests/tls/peers.h"
#include "tls/client_context.h"
#include "tls/server_context.h"

namespace pgveil::tls::test {
namespace {

using namespace std::chrono_literals;
using pgveil::test::crl_file_name;
using pgveil::test::crl_of;
using pgveil::test::CrlRequest;
using pgveil::test::issued_by;

constexpr const char* kPoint = "http://pki.example.com/a.crl";

// A peer, its authority and the CRLs of that authority.
struct CrlScene {
  Site site;
  Identity peer = issued_by(site.root, request_with(""));
  std::vector<std::string> crls;

  static CertificateRequest request_with(const std::string& point) {
    CertificateRequest request;
    request.common_names = {"peer"};
    request.alternative_names = {pgveil::test::dns(Site::kHost)};
    request.crl_distribution_points = point;
    return request;
  }
  // Issues the certificate again, with the location of its CRL.
  void reissue_with_point() { peer = issued_by(site.root, request_with(std::string("URI:") + kPoint)); }

  void add(const CrlRequest& request) { crls.push_back(crl_of(site.root, request)); }
  // Adds a CRL that is two hours old.
  void add_revocation(const std::string& point = {}) {
    add({.revoked = {&peer}, .issuing_distribution_point = point, .number = 7});
  }
  // Adds a CRL that is one hour old.
  void add_newer(const std::string& point) {
    add({.this_update = -1h, .issuing_distribution_point = point, .number = 8});
  }
};

enum class Where { client_file, client_directory, server_file, server_directory };
constexpr std::array kEverywhere{Where::client_file, Where::client_directory, Where::server_file,
                                 Where::server_directory};
std::string name_of(Where where) {
  switch (where) {
    case Where::client_file: return "sslcrl";
    case Where::client_directory: return "sslcrldir";
    case Where::server_file: return "ssl_crl_file";
    case Where::server_directory: return "ssl_crl_dir";
  }
  return {};
}
bool is_client(Where where) {
  return where == Where::client_file || where == Where::client_directory;
}

void write_directory(const CrlScene& scene, std::size_t first = 0) {
  std::filesystem::create_directory(scene.site.folder.path("crls"));
  for (std::size_t i = first; i < scene.crls.size(); ++i)
    scene.site.folder.write("crls/" + crl_file_name(scene.site.root, static_cast<int>(i)), scene.crls[i]);
}

std::string write_file(const CrlScene& scene) {
  std::string all;
  for (const auto& crl : scene.crls) all += crl;
  return scene.site.folder.write("all.crl", all);
}

ClientSettings client_settings(const CrlScene& scene, Where where) {
  auto settings = scene.site.client_settings();
  if (where == Where::client_file) {
    settings.sslcrl = write_file(scene);
  } else {
    write_directory(scene);
    settings.sslcrldir = scene.site.folder.path("crls");
  }
  return settings;
}

ServerSettings server_settings(const CrlScene& scene, Where where) {
  auto settings = scene.site.server_settings();
  settings.ssl_ca_file = scene.site.folder.path("root.crt");
  if (where == Where::server_file) {
    settings.ssl_crl_file = write_file(scene);
  } else {
    write_directory(scene);
    settings.ssl_crl_dir = scene.site.folder.path("crls");
  }
  return settings;
}

// Returns "accepted", or the reason why the peer is refused.
std::string verdict(const CrlScene& scene, const std::shared_ptr<const ClientContext>& context) {
  EngineEnd client(Engine::to_server(context, {.host = Site::kHost}));
  const auto server_context = openssl_server(scene.peer);
  OpenSslEnd server(server_context.get(), OpenSslEnd::Side::server);
  const bool accepted = shake_hands(client, server) == Engine::Status::ready;
  return accepted ? "accepted" : std::string(name_of(client.failure().failure));
}

std::string verdict(const CrlScene& scene, const std::shared_ptr<const ServerContext>& context) {
  const auto client_context = openssl_client();
  show(client_context.get(), scene.peer);
  const auto accepted = accept(context, client_context.get());
  if (accepted.status == Engine::Status::ready) return "accepted";
  return std::string(name_of(accepted.server->failure().failure));
}

std::string verdict(const CrlScene& scene, Where where) {
  if (is_client(where)) return verdict(scene, Site::build(client_settings(scene, where)));
  return verdict(scene, Site::build(server_settings(scene, where)));
}

struct CrlCase {
  const char* name;
  void (*make)(CrlScene&);
  const char* verdict;
};
void PrintTo(const CrlCase& row, std::ostream* out) {
  *out << row.name;
}

class CrlKind : public testing::TestWithParam<CrlCase> {};

TEST_P(CrlKind, LeadsToThisVerdictOnThePeer) {
  for (const Where where : kEverywhere) {
    CrlScene scene;
    GetParam().make(scene);
    EXPECT_EQ(verdict(scene, where), GetParam().verdict) << name_of(where);
  }
}

// Tests the reverse order, which a file may have.
TEST_P(CrlKind, LeadsToTheSameVerdictInAnyOrder) {
  for (const Where where : kEverywhere) {
    CrlScene scene;
    GetParam().make(scene);
    std::reverse(scene.crls.begin(), scene.crls.end());
    EXPECT_EQ(verdict(scene, where), GetParam().verdict) << name_of(where);
  }
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Revoked, CrlKind, testing::Values(
    CrlCase{"Complete", [](CrlScene& s) { s.add_revocation(); }, "revoked"},
    CrlCase{"CompleteWithOneForUsersThatIsNewer",
            [](CrlScene& s) { s.add_revocation(); s.add_newer("critical,onlyuser:TRUE"); }, "revoked"},
    CrlCase{"CompleteWithOneForAuthoritiesThatIsNewer",
            [](CrlScene& s) { s.add_revocation(); s.add_newer("critical,onlyCA:TRUE"); }, "revoked"},
    CrlCase{"CompleteWithOneForAttributesThatIsNewer",
            [](CrlScene& s) { s.add_revocation(); s.add_newer("critical,onlyAA:TRUE"); }, "revoked"},
    CrlCase{"CompleteWithAnIndirectOneThatIsNewer",
            [](CrlScene& s) { s.add_revocation(); s.add_newer("critical,indirectCRL:TRUE"); }, "revoked"},
    CrlCase{"CompleteWithOneForSomeReasonsThatIsNewer",
            [](CrlScene& s) { s.add_revocation(); s.add_newer("critical,onlysomereasons:keyCompromise"); }, "revoked"},
    CrlCase{"CompleteWithOneOfADistributionPointThatIsNewer",
            [](CrlScene& s) {
              s.reissue_with_point();
              s.add_revocation();
              s.add_newer(std::string("critical,fullname:URI:") + kPoint);
            }, "revoked"},
    CrlCase{"CompleteWithOneOfAnotherDistributionPointThatIsNewer",
            [](CrlScene& s) {
              s.reissue_with_point();
              s.add_revocation();
              s.add_newer("critical,fullname:URI:http://pki.example.com/b.crl");
            }, "revoked"},
    CrlCase{"ForUsersWithACompleteOneThatIsNewer",
            [](CrlScene& s) { s.add_revocation("critical,onlyuser:TRUE"); s.add_newer(""); }, "revoked"},
    CrlCase{"ForSomeReasonsWithACompleteOneThatIsNewer",
            [](CrlScene& s) { s.add_revocation("critical,onlysomereasons:keyCompromise"); s.add_newer(""); }, "revoked"},
    CrlCase{"IndirectWithACompleteOneThatIsNewer",
            [](CrlScene& s) { s.add_revocation("critical,indirectCRL:TRUE"); s.add_newer(""); }, "revoked"},
    CrlCase{"OfADistributionPointWithACompleteOneThatIsNewer",
            [](CrlScene& s) {
              s.reissue_with_point();
              s.add_revocation(std::string("critical,fullname:URI:") + kPoint);
              s.add_newer("");
            }, "revoked"},
    CrlCase{"CompleteThatHasExpiredWithOneForUsersThatHasNot",
            [](CrlScene& s) {
              s.add({.revoked = {&s.peer}, .next_update = -1min});
              s.add_newer("critical,onlyuser:TRUE");
            }, "revoked"},
    CrlCase{"ForUsers", [](CrlScene& s) { s.add_revocation("critical,onlyuser:TRUE"); }, "revoked"},
    CrlCase{"Indirect", [](CrlScene& s) { s.add_revocation("critical,indirectCRL:TRUE"); }, "revoked"},
    CrlCase{"OfTwoOfTheSameTime",
            [](CrlScene& s) { s.add_revocation(); s.add({}); }, "revoked"},
    CrlCase{"WithOneOfALowerNumberThatIsNewer",
            [](CrlScene& s) { s.add_revocation(); s.add({.this_update = -1h, .number = 6}); }, "revoked"}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(NotRevoked, CrlKind, testing::Values(
    CrlCase{"Complete", [](CrlScene& s) { s.add({}); }, "accepted"},
    CrlCase{"CompleteAndForSomeReasons",
            [](CrlScene& s) { s.add({}); s.add_newer("critical,onlysomereasons:keyCompromise"); }, "accepted"},
    CrlCase{"ForUsers", [](CrlScene& s) { s.add({.issuing_distribution_point = "critical,onlyuser:TRUE"});
                                       s.add({.issuing_distribution_point = "critical,onlyCA:TRUE"}); }, "accepted"},
    // The certificate was on hold, and the next CRL does not contain it any more.
    CrlCase{"AnyMoreByTheNextOfTheSameKind", [](CrlScene& s) { s.add_revocation(); s.add_newer(""); }, "accepted"},
    // Serial numbers of one authority have no meaning for another authority of the same name.
    CrlCase{"ByItsOwnAuthority",
            [](CrlScene& s) {
              s.add({.this_update = -1h});
              s.crls.push_back(crl_of(pgveil::test::authority("Test Root"), CrlRequest{.revoked = {&s.peer}}));
            }, "accepted"}),
    [](const auto& row) { return row.param.name; });

// A CRL for some certificates or some reasons gives no status for the others.
INSTANTIATE_TEST_SUITE_P(NotSaid, CrlKind, testing::Values(
    CrlCase{"ByOneForAuthorities", [](CrlScene& s) { s.add_newer("critical,onlyCA:TRUE"); }, "crl_unusable"},
    CrlCase{"ByOneForAttributes", [](CrlScene& s) { s.add_newer("critical,onlyAA:TRUE"); }, "crl_unusable"},
    CrlCase{"ByOneForSomeReasons", [](CrlScene& s) { s.add_newer("critical,onlysomereasons:keyCompromise"); },
            "crl_unusable"},
    CrlCase{"ByOneOfAnotherDistributionPoint",
            [](CrlScene& s) {
              s.reissue_with_point();
              s.add_newer("critical,fullname:URI:http://pki.example.com/b.crl");
            }, "crl_unusable"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

// --- delta CRLs ---

void add_delta(CrlScene& scene, const std::string& point = {}) {
  scene.add({.this_update = -1h, .issuing_distribution_point = point, .number = 8, .base_number = 7});
}

TEST(DeltaCrl, IsRefusedInEachSetting) {
  for (const Where where : kEverywhere) {
    CrlScene scene;
    scene.add_revocation();
    add_delta(scene);
    std::vector<SettingError> mistakes;
    if (is_client(where)) {
      if (const auto built = ClientContext::build(client_settings(scene, where)); !built)
        mistakes = built.error();
    } else {
      if (const auto built = ServerContext::build(server_settings(scene, where)); !built)
        mistakes = built.error();
    }
    ASSERT_EQ(mistakes.size(), 1U) << name_of(where);
    EXPECT_EQ(mistakes[0].setting, name_of(where));
    EXPECT_NE(mistakes[0].message.find("is a delta CRL"), std::string::npos) << mistakes[0].message;
    EXPECT_NE(mistakes[0].hint, "");
  }
}

TEST(DeltaCrl, IsIgnoredIfItComesIntoADirectoryLater) {
  for (const char* point : {"", "critical,onlysomereasons:keyCompromise", "critical,onlyuser:TRUE"})
    for (const Where where : {Where::client_directory, Where::server_directory}) {
      CrlScene scene;
      scene.add_revocation();
      std::string result;
      if (is_client(where)) {
        const auto context = Site::build(client_settings(scene, where));
        add_delta(scene, point);
        write_directory(scene, 1);
        result = verdict(scene, context);
      } else {
        const auto context = Site::build(server_settings(scene, where));
        add_delta(scene, point);
        write_directory(scene, 1);
        result = verdict(scene, context);
      }
      EXPECT_EQ(result, "revoked") << name_of(where) << ' ' << point;
    }
}

// One file may contain authorities and CRLs.
TEST(DeltaCrl, IsIgnoredAmongTheAuthorities) {
  for (const Where where : {Where::client_file, Where::server_file}) {
    CrlScene scene;
    scene.add_revocation();
    const std::string delta =
        crl_of(scene.site.root, CrlRequest{.this_update = -1h, .number = 8, .base_number = 7});
    scene.site.folder.write("root.crt", scene.site.root.certificate_pem() + delta);
    EXPECT_EQ(verdict(scene, where), "revoked") << name_of(where);
  }
}

TEST(DeltaCrl, RevokesNevertheless) {
  for (const Where where : {Where::client_directory, Where::server_directory}) {
    CrlScene scene;
    scene.add({.number = 7});
    const CrlRequest delta{.revoked = {&scene.peer}, .this_update = -1h, .number = 8, .base_number = 7};
    std::string result;
    const auto place = [&] {
      scene.site.folder.write("crls/" + crl_file_name(scene.site.root, 1), crl_of(scene.site.root, delta));
    };
    if (is_client(where)) {
      const auto context = Site::build(client_settings(scene, where));
      place();
      result = verdict(scene, context);
    } else {
      const auto context = Site::build(server_settings(scene, where));
      place();
      result = verdict(scene, context);
    }
    EXPECT_EQ(result, "revoked") << name_of(where);
  }
}

}  // namespace
}  // namespace pgveil::tls::test
