#include "proxy/session/login_exchange.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "tests/support/certificates.h"
#include "tests/support/stage_fixture.h"
#include "tests/support/unix_server.h"
#include "tls/client_context.h"

namespace pgveil::proxy {
namespace {

using LoginState = LoginExchange::State;

const std::string kAuthenticationOk("R\0\0\0\x08\0\0\0\0", 9);
const std::string kBackendKeyData("K\0\0\0\x0c\0\0\0\x07\0\0\0\x2a", 13);
const std::string kReadyForQuery("Z\0\0\0\x05I", 6);
const std::string kStartingUp("E\0\0\0\x20SFATAL\0C57P03\0Mstarting up\0\0", 33);

class ALoginExchange : public test::AStage {
 protected:
  // Begins the login of a client with method `relay`, up to the server's first message.
  LoginExchange& reach(const std::string& hosts) {
    begin("hba = \"host all all all relay\"", "host = " + hosts);
    context_->deadline.set(snapshot_->limits.startup_timeout);
    AdmittedClient client{.client = {},
                          .method = protocol::HbaMethod::relay,
                          .upstream = context_->policy().upstream,
                          .tls_to_server = nullptr,
                          .kept = nullptr};
    client.client.startup.set("user", "ann");
    client.client.tls = client_tls_;
    login_.emplace(*context_, std::move(client), nullptr);
    return *login_;
  }
  // Runs the loop until the state is `wanted`, or a final one.
  [[nodiscard]] bool advance_until(LoginState wanted) {
    return turn_until([&] {
             static_cast<void>(server_.accept());
             state_ = login_->advance();
             return state_ == wanted || state_ == LoginState::failed || state_ == LoginState::logged_in;
           }) &&
           state_ == wanted;
  }
  std::string one_host() const { return '"' + folder_.path("") + '"'; }

  test::TemporaryFolder folder_;
  test::UnixServer server_{folder_.path("")};
  std::shared_ptr<const tls::Established> client_tls_;  // null: the client comes without TLS
  std::optional<LoginExchange> login_;
  LoginState state_ = LoginState::connecting;
};

TEST_F(ALoginExchange, EndsWithReadyForQuery) {
  reach(one_host());
  ASSERT_TRUE(advance_until(LoginState::logging_in));
  ASSERT_TRUE(turn_until([&] { return server_.accept() || server_.is_connected(); }));
  std::string startup;
  ASSERT_TRUE(turn_until([&] { return !(startup += server_.received()).empty(); }));
  EXPECT_NE(startup.find("ann"), std::string::npos);
  server_.send(kAuthenticationOk + kBackendKeyData + kReadyForQuery + "more");
  ASSERT_TRUE(advance_until(LoginState::logged_in));

  EXPECT_TRUE(shared_.cancel_routes.find({7, {0, 0, 0, 0x2a}}).has_value());
  const LoggedInSession session = login_->take_session();
  EXPECT_NE(session.server, nullptr);
  EXPECT_EQ(client_->written, kAuthenticationOk + kBackendKeyData + kReadyForQuery + "more");
  EXPECT_FALSE(client_->paused);
}

TEST_F(ALoginExchange, TakesItsTimeWithAnyNumberOfPieces) {
  reach(one_host());
  ASSERT_TRUE(advance_until(LoginState::logging_in));
  ASSERT_TRUE(turn_until([&] { return server_.accept() || server_.is_connected(); }));
  const std::string answer = kAuthenticationOk + kReadyForQuery;
  for (std::size_t i = 0; i + 1 < answer.size(); ++i) {
    server_.send(answer.substr(i, 1));
    const int before = owner_.wakes;
    ASSERT_TRUE(turn_until([&] { return owner_.wakes > before; }));
    ASSERT_EQ(login_->advance(), LoginState::logging_in) << i;
  }
  server_.send(answer.substr(answer.size() - 1));
  EXPECT_TRUE(advance_until(LoginState::logged_in));
}

TEST_F(ALoginExchange, GoesOnToTheNextHostIfTheFirstOneTakesNoConnections) {
  const test::TemporaryFolder folder;
  test::UnixServer first(folder.path(""));
  reach('"' + folder.path("") + ',' + folder_.path("") + '"');
  ASSERT_TRUE(advance_until(LoginState::logging_in));
  ASSERT_TRUE(turn_until([&] { return first.accept(); }));
  first.send(kStartingUp);
  ASSERT_TRUE(advance_until(LoginState::connecting));
  ASSERT_TRUE(advance_until(LoginState::logging_in));
  ASSERT_TRUE(turn_until([&] { return server_.accept() || server_.is_connected(); }));
  server_.send(kAuthenticationOk + kReadyForQuery);
  ASSERT_TRUE(advance_until(LoginState::logged_in));
  EXPECT_EQ(client_->written, kAuthenticationOk + kReadyForQuery);  // nothing of the first server
}

// A connection that was started early must not be used if the server is to see another certificate.
TEST_F(ALoginExchange, ClosesAnEarlyConnectionThatItCannotUse) {
  begin("hba = \"host all all all relay\"", "host = " + one_host());
  context_->deadline.set(snapshot_->limits.startup_timeout);
  const auto& upstream = context_->policy().upstream;
  auto early = context_->dial(upstream, upstream->tls, {});
  ASSERT_TRUE(turn_until([&] {
    return early->advance(context_->scratch()) == UpstreamLink::State::established &&
           (server_.accept() || server_.is_connected());
  }));
  const auto root = test::authority("Root");
  tls::ClientSettings other;
  other.sslrootcert = folder_.write("root.crt", root.certificate_pem());
  login_.emplace(*context_,
                 AdmittedClient{.client = {},
                                .method = protocol::HbaMethod::relay,
                                .upstream = context_->policy().upstream,
                                .tls_to_server = tls::ClientContext::build(other).value(),
                                .kept = nullptr},
                 std::move(early));
  ASSERT_TRUE(turn_until([&] { return server_.has_ended(); }));
  EXPECT_TRUE(turn_until([&] {
    static_cast<void>(login_->advance());
    return server_.accept();
  })) << "it dials again";
}

// The client does not read.
TEST_F(ALoginExchange, FailsIfTheServerSendsMoreThanAMegabyte) {
  constexpr std::size_t kMaxBytes = 1'048'576;
  reach(one_host());
  ASSERT_TRUE(advance_until(LoginState::logging_in));
  ASSERT_TRUE(turn_until([&] { return server_.accept() || server_.is_connected(); }));
  server_.send(kAuthenticationOk);
  ASSERT_TRUE(turn_until(
      [&] { return login_->advance() == LoginState::logging_in && client_->written == kAuthenticationOk; }));
  client_->kernel_room = 0;
  const std::string notice = std::string("N\0\0\x10\0", 5) + std::string(4092, '\0');
  std::size_t sent = 0;
  LoginState state = LoginState::logging_in;
  for (; state == LoginState::logging_in && sent < 2 * kMaxBytes; sent += notice.size()) {
    server_.send(notice);
    const auto expected = sent + notice.size();
    ASSERT_TRUE(turn_until([&] {
      state = login_->advance();
      return state != LoginState::logging_in || client_->unwritten() == expected;
    }));
  }
  ASSERT_EQ(state, LoginState::failed);
  EXPECT_EQ(login_->ending().reason, Reason::upstream_protocol_violation);
  EXPECT_GT(sent, kMaxBytes);
  EXPECT_LE(sent, kMaxBytes + 2 * notice.size());
}

// It may be a password.
TEST_F(ALoginExchange, WipesWhatTheClientSaysFromTheScratchMemory) {
  client_tls_ = std::make_shared<const tls::Established>();
  reach(one_host());
  ASSERT_TRUE(advance_until(LoginState::logging_in));
  ASSERT_TRUE(turn_until([&] { return server_.accept() || server_.is_connected(); }));
  server_.send(std::string("R\0\0\0\x08\0\0\0\x03", 9));  // asks for a password
  ASSERT_TRUE(
      turn_until([&] { return login_->advance() == LoginState::logging_in && !client_->written.empty(); }));
  const std::string password("p\0\0\0\x0bsecret\0", 12);
  std::copy(password.begin(), password.end(), scratch_.plaintext.begin());  // as TLS leaves it there
  client_->incoming = {password};
  ASSERT_EQ(login_->advance(), LoginState::logging_in);
  const std::string wiped(password.size(), '\0');
  EXPECT_EQ(std::string(scratch_.incoming.begin(), scratch_.incoming.begin() + 12), wiped);
  EXPECT_EQ(std::string(scratch_.plaintext.begin(), scratch_.plaintext.begin() + 12), wiped);
  std::string passed_on;
  EXPECT_TRUE(turn_until([&] { return (passed_on += server_.received()).ends_with(password); }));
}

TEST_F(ALoginExchange, FailsIfTheServerCloses) {
  reach(one_host());
  ASSERT_TRUE(advance_until(LoginState::logging_in));
  ASSERT_TRUE(turn_until([&] { return server_.accept() || server_.is_connected(); }));
  server_.send(kAuthenticationOk);
  server_.close();
  EXPECT_TRUE(advance_until(LoginState::failed));
  EXPECT_EQ(login_->ending().reason, Reason::upstream_lost);
}

TEST_F(ALoginExchange, FailsIfNoServerListens) {
  reach("\"/nonexistent\"");
  EXPECT_TRUE(advance_until(LoginState::failed));
  EXPECT_EQ(login_->ending().reason, Reason::upstream_unreachable);
  EXPECT_EQ(login_->release_server(), nullptr);
}

TEST_F(ALoginExchange, FailsIfTheClientLeavesMeanwhile) {
  reach(one_host());
  client_->broken = true;
  EXPECT_EQ(login_->advance(), LoginState::failed);
  EXPECT_EQ(login_->ending().reason, Reason::client_closed);
}

}  // namespace
}  // namespace pgveil::proxy
