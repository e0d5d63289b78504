#include "proxy/session/admission.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>
#include <utility>

#include "tests/support/certificates.h"
#include "tests/support/stage_fixture.h"

namespace pgveil::proxy {
namespace {

using AdmissionState = Admission::State;

class AnAdmission : public test::AStage {
 protected:
  Admission& admit(const std::string& listener, const std::string& user, const std::string& database = "",
                   const std::string& limits = "") {
    OpenedClient client;
    client.startup.set("user", user);
    if (!database.empty()) client.startup.set("database", database);
    begin(listener, "host = \"/nonexistent\"", limits);
    context_->deadline.set(snapshot_->limits.startup_timeout);
    admission_.emplace(*context_, std::move(client));
    return *admission_;
  }

  std::optional<Admission> admission_;
};

TEST_F(AnAdmission, GivesTheMethodOfTheFirstRuleThatMatches) {
  Admission& admission =
      admit("hba = \"\"\"\nhost all bob all reject\nhost all all all relay\n\"\"\"", "ann");
  ASSERT_EQ(admission.advance(), AdmissionState::admitted);
  const AdmittedClient admitted = admission.take_client();
  EXPECT_EQ(admitted.method, protocol::HbaMethod::relay);
  EXPECT_EQ(admitted.client.startup.user(), "ann");
}

TEST_F(AnAdmission, CountsTheClientAsASession) {
  Admission& admission = admit("hba = \"host all all all relay\"", "ann");
  EXPECT_EQ(shared_.unauthenticated_clients.count(), 1U);
  ASSERT_EQ(admission.advance(), AdmissionState::admitted);
  EXPECT_EQ(shared_.unauthenticated_clients.count(), 0U);
  EXPECT_EQ(shared_.sessions.taken(), 1U);
}

TEST_F(AnAdmission, RefusesAClientThatNoRuleMatches) {
  Admission& admission = admit("hba = \"host all bob all relay\"", "ann");
  ASSERT_EQ(admission.advance(), AdmissionState::refused);
  EXPECT_EQ(admission.ending().reason, Reason::rejected_by_rule);
  EXPECT_EQ(shared_.unauthenticated_clients.count(), 1U);  // until its connection is closed
}

TEST_F(AnAdmission, RefusesAClientWithoutTlsIfTheListenerRequiresTls) {
  const test::TemporaryFolder folder;
  const auto identity = test::authority("localhost");
  const std::string certificate =
      "ssl_cert_file = \"" + folder.write("server.crt", identity.certificate_pem()) +
      "\"\nssl_key_file = \"" + folder.write("server.key", identity.key_pem()) + '"';
  Admission& admission = admit(certificate, "ann");
  ASSERT_EQ(admission.advance(), AdmissionState::refused);
  EXPECT_EQ(admission.ending().reason, Reason::tls_required);
}

constexpr const char* kAdminDatabase =
    "admin_database = \"pgveil\"\nadmin_users = \"operator\"\n"
    "hba = \"\"\"\nhost all relayed all relay\nhost all all all trust\n\"\"\"";

TEST_F(AnAdmission, ConnectsAUserOfTheAdminDatabaseToIt) {
  std::optional<Descriptor> served;
  shared_.admin_database.serve([&](Descriptor connection) { served = std::move(connection); });
  Admission& admission = admit(kAdminDatabase, "operator", "pgveil");
  ASSERT_EQ(admission.advance(), AdmissionState::admitted) << admission.ending().detail;
  const AdmittedClient admitted = admission.take_client();
  EXPECT_EQ(admitted.upstream, context_->policy().admin_database);
  EXPECT_TRUE(served);
  ASSERT_GE(admitted.admin_database.get(), 0);
  EXPECT_EQ(::write(served->get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(::read(admitted.admin_database.get(), &byte, 1), 1);
}

TEST_F(AnAdmission, LeavesOtherDatabasesToTheServer) {
  ASSERT_EQ(admit(kAdminDatabase, "operator", "ledger").advance(), AdmissionState::admitted);
  const AdmittedClient admitted = admission_->take_client();
  EXPECT_EQ(admitted.upstream, context_->policy().upstream);
  EXPECT_LT(admitted.admin_database.get(), 0);
}

TEST_F(AnAdmission, DoesNotTakeTheNameOfAUserForTheAdminDatabase) {
  ASSERT_EQ(admit(kAdminDatabase, "pgveil").advance(), AdmissionState::admitted);
  EXPECT_EQ(admission_->take_client().upstream, context_->policy().upstream);
}

TEST_F(AnAdmission, RefusesOthersTheAdminDatabase) {
  for (const char* user : {"ann", "relayed"}) {
    Admission& admission = admit(kAdminDatabase, user, "pgveil");
    ASSERT_EQ(admission.advance(), AdmissionState::refused);
    EXPECT_EQ(admission.ending().reason, Reason::admin_database_denied);
  }
}

TEST_F(AnAdmission, FailsIfNobodyServesTheAdminDatabase) {
  Admission& admission = admit(kAdminDatabase, "operator", "pgveil");
  ASSERT_EQ(admission.advance(), AdmissionState::refused);
  EXPECT_EQ(admission.ending().reason, Reason::out_of_resources);
}

TEST_F(AnAdmission, RefusesAClientIfAllSessionsAreInUse) {
  ASSERT_TRUE(shared_.sessions.acquire(1));
  Admission& admission = admit("hba = \"host all all all relay\"", "ann", "", "max_sessions = 1");
  ASSERT_EQ(admission.advance(), AdmissionState::refused);
  EXPECT_EQ(admission.ending().reason, Reason::too_many_sessions);
  EXPECT_EQ(shared_.sessions.taken(), 1U);
}

TEST_F(AnAdmission, RefusesAClientThatHasLeft) {
  Admission& admission = admit("hba = \"host all all all relay\"", "ann");
  client_->broken = true;
  ASSERT_EQ(admission.advance(), AdmissionState::refused);
  EXPECT_EQ(admission.ending().reason, Reason::client_closed);
}

TEST_F(AnAdmission, ReadsNothingWhileItDecides) {
  Admission& admission = admit("hba = \"host all all all relay\"", "ann");
  client_->incoming = {"later"};
  ASSERT_EQ(admission.advance(), AdmissionState::admitted);
  EXPECT_TRUE(client_->paused);
  EXPECT_EQ(client_->reads, 0);
}

// A rule assigns the user `ledger`, and so its database; with that database another rule matches, which assigns `reader`.
TEST_F(AnAdmission, GivesAClientThatNamesNoDatabaseTheOneThatTheRulesWereAskedAbout) {
  client_address_.storage.ss_family = AF_UNIX;
  client_address_.size = sizeof client_address_.storage.ss_family;
  begin(R"(hba = """
local ledger all peer map=special assign=1
local all all peer map=general assign=1
"""
ident = """
general x ledger
special x reader
""")",
        "host = \"/nonexistent\"");
  context_->deadline.set(snapshot_->limits.startup_timeout);
  OpenedClient client;
  client.unix_user = "x";
  Admission admission(*context_, std::move(client));
  ASSERT_EQ(admission.advance(), AdmissionState::admitted) << admission.ending().detail;
  const AdmittedClient admitted = admission.take_client();
  EXPECT_EQ(admitted.client.startup.user(), "reader");
  EXPECT_EQ(admitted.client.startup.database(), "ledger");
}

TEST_F(AnAdmission, FailsAfterTheTimeForTheStartup) {
  Admission& admission = admit("hba = \"host all all all relay\"", "ann", "", "startup_timeout = \"1ms\"");
  ASSERT_TRUE(turn_until([&] { return context_->deadline.passed(); }));
  ASSERT_EQ(admission.advance(), AdmissionState::refused);
  EXPECT_EQ(admission.ending().reason, Reason::startup_timeout);
}

}  // namespace
}  // namespace pgveil::proxy
