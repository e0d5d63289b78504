#include "proxy/session/cancel_forward.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "tests/support/certificates.h"
#include "tests/support/failing_memory.h"
#include "tests/support/stage_fixture.h"
#include "tests/support/unix_server.h"

namespace pgveil::proxy {
namespace {

const protocol::CancelRequest kRequest{7, {0, 0, 0, 0x2a}};
const std::string kPacket("\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07\0\0\0\x2a", 16);

class ACancelForward : public test::AStage {
 protected:
  test::TemporaryFolder folder_;
  test::UnixServer server_{folder_.path("")};
};

TEST_F(ACancelForward, EndsAfterTheServerHasClosed) {
  begin("", "host = \"" + folder_.path("") + '"');
  auto begun = CancelForward::begin(*context_, kRequest, {});
  ASSERT_TRUE(begun);
  CancelForward& cancel = **begun;
  EXPECT_EQ(shared_.unauthenticated_clients.count(), 0U);
  EXPECT_EQ(shared_.cancels.taken(), 1U);

  std::string packet;
  ASSERT_TRUE(turn_until([&] {
    EXPECT_FALSE(cancel.advance().has_value());
    if (server_.accept() || server_.is_connected()) packet += server_.received();
    return packet.size() == kPacket.size();
  }));
  EXPECT_EQ(packet, kPacket);
  server_.close();
  std::optional<Ending> ending;
  ASSERT_TRUE(turn_until([&] { return (ending = cancel.advance()).has_value(); }));
  EXPECT_EQ(ending->reason, Reason::cancel_forwarded);
}

TEST_F(ACancelForward, HasFailedIfTheServerResetsTheConnection) {
  begin("", "host = \"" + folder_.path("") + '"');
  auto begun = CancelForward::begin(*context_, kRequest, {});
  ASSERT_TRUE(begun);
  ASSERT_TRUE(turn_until([&] {
    EXPECT_FALSE((*begun)->advance().has_value());
    return server_.accept();
  }));
  ASSERT_FALSE((*begun)->advance().has_value());
  server_.close();  // without reading the request, so that the kernel resets the connection
  std::optional<Ending> ending;
  ASSERT_TRUE(turn_until([&] { return (ending = (*begun)->advance()).has_value(); }));
  EXPECT_EQ(ending->reason, Reason::upstream_lost);
  EXPECT_EQ(ending->detail, "The connection broke after the cancel request: Connection reset by peer.");
}

TEST_F(ACancelForward, GoesToTheServerOfItsSession) {
  const test::TemporaryFolder folder;
  test::UnixServer first(folder.path(""));  // which would take the connection, too
  begin("", "host = \"" + folder.path("") + "," + folder_.path("") + '"');
  const Upstream& upstream = *context_->policy().upstream;
  shared_.unauthenticated_clients.enter();
  usage_->unauthenticated_clients.enter();
  SessionRegistration session(shared_, usage_);
  session.add_cancel_route(kRequest, {.upstream = context_->policy().upstream,
                                      .server = {.host = upstream.config.hosts.at(1),
                                                 .address = *unix_address(folder_.path(".s.PGSQL.5432"))}});
  auto begun = CancelForward::begin(*context_, kRequest, {});
  ASSERT_TRUE(begun);
  EXPECT_TRUE(turn_until([&] {
    EXPECT_FALSE((*begun)->advance().has_value());
    return server_.accept();
  }));
  EXPECT_FALSE(first.accept());
}

// The bytes that are freed must not contain the key: a later reader of the memory could cancel the session's statements.
TEST_F(ACancelForward, WipesTheKey) {
  const std::string key = "a key of thirty-two bytes' length";
  std::size_t copies = 0;
  const auto watched = [&](const auto& action) {
    const test::FreedCopies freed(key);
    action();
    copies += freed.count();
  };
  begin("", "host = \"" + folder_.path("") + '"');
  const protocol::CancelRequest request{7, {key.begin(), key.end()}};
  tl::expected<std::unique_ptr<CancelForward>, Ending> begun;
  watched([&] { begun = CancelForward::begin(*context_, request, {}); });
  ASSERT_TRUE(begun);
  std::string packet;
  ASSERT_TRUE(turn_until([&] {
    watched([&] { EXPECT_FALSE((*begun)->advance().has_value()); });
    if (server_.accept() || server_.is_connected()) packet += server_.received();
    return packet.ends_with(key);
  }));
  watched([&] { begun->reset(); });
  EXPECT_EQ(copies, 0U);
}

TEST_F(ACancelForward, RefusesARequestWithoutTlsIfTheListenerDeniesThem) {
  const auto identity = test::authority("localhost");
  const std::string certificate =
      "ssl_cert_file = \"" + folder_.write("server.crt", identity.certificate_pem()) +
      "\"\nssl_key_file = \"" + folder_.write("server.key", identity.key_pem()) + "\"\n";
  const std::string upstream = "host = \"" + folder_.path("") + '"';
  begin(certificate + "plaintext_cancel = \"deny\"", upstream);
  const auto refused = CancelForward::begin(*context_, kRequest, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, Reason::plaintext_cancel_denied);
  const tls::Established client_tls{};
  EXPECT_TRUE(CancelForward::begin(*context_, kRequest, {.tls = &client_tls})) << "inside TLS";
  begin(certificate, upstream);
  EXPECT_TRUE(CancelForward::begin(*context_, kRequest, {})) << "the default";
}

TEST_F(ACancelForward, RefusesAnUnknownKeyIfThereAreSeveralServers) {
  begin("", "host = \"/nonexistent," + folder_.path("") + '"');
  const auto begun = CancelForward::begin(*context_, kRequest, {});
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().reason, Reason::cancel_unknown);
}

TEST_F(ACancelForward, RefusesARequestIfTooManyAreOnTheirWay) {
  while (shared_.cancels.acquire(256)) {
  }
  begin("", "host = \"" + folder_.path("") + '"');
  const auto begun = CancelForward::begin(*context_, kRequest, {});
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().reason, Reason::too_many_cancels);
}

}  // namespace
}  // namespace pgveil::proxy
