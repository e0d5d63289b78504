#include "proxy/login/terminated_login.h"

#include <gtest/gtest.h>
#include <uv.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "protocol/scram_client.h"
#include "proxy/credentials/scram_hash.h"

namespace pgveil::proxy {
namespace {

using protocol::AuthenticationCode;
using protocol::Bytes;
using protocol::ByteView;

constexpr std::string_view kPassword = "sesame";
const protocol::ScramSalting kSalting{.iterations = 4096, .salt = {1, 2, 3, 4}};

struct Counter final : Wakeable {
  void wake() override { ++times; }
  int times = 0;
};

protocol::ScramSecret secret() {
  return protocol::secret_of(salted_password(kPassword, kSalting), kSalting, scram_hash());
}

ByteView bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// A login between a client and a server that follow SCRAM, message by message.
class TerminatedLogins : public testing::Test {
 protected:
  TerminatedLogins() { uv_loop_init(&loop_); }
  ~TerminatedLogins() override {
    login_.reset();
    key_cache_.reset();
    uv_run(&loop_, UV_RUN_DEFAULT);
    uv_loop_close(&loop_);
  }

  void begin(std::unique_ptr<ClientAuthenticator> client, Credential* held = nullptr,
             std::optional<Ending> denial = {}) {
    auto server = std::make_unique<ServerAuthenticator>(
        ServerAuthenticator::Terms{.user = "ann", .allowed = {AuthMethod::scram_sha_256}, .end_point = {}},
        *key_cache_, owner_);
    if (held != nullptr) server->use(std::move(*held));
    login_ = std::make_unique<TerminatedLogin>(std::move(client), std::move(server), std::move(denial));
  }

  // The server sends `message`. Returns the bytes that the login sends.
  LoginAnswers hear(AuthenticationCode code, ByteView data) {
    protocol::encode_authentication(code, data, from_server_);
    return go_on();
  }
  LoginAnswers offer() {
    protocol::encode_authentication_sasl({protocol::kScramSha256}, from_server_);
    return go_on();
  }
  LoginAnswers go_on() {
    LoginAnswers answers;
    protocol::ByteReader in(from_server_);
    progress_ = login_->advance(in, answers);
    from_server_.erase(from_server_.begin(),
                       from_server_.end() - static_cast<std::ptrdiff_t>(in.remaining()));
    return answers;
  }
  // The client sends `bytes`.
  LoginAnswers take(const Bytes& bytes) {
    LoginAnswers answers;
    protocol::ByteReader in(bytes);
    EXPECT_TRUE(login_->take_client(in, answers));
    return answers;
  }

  // Runs the server's side of SCRAM to its end. Returns the bytes that the login sends after the last
  // message.
  LoginAnswers run_server(LoginAnswers answers) {
    protocol::ScramServer server(scram_hash(), secret(), {}, new_scram_nonce());
    const auto first = body_of(answers.to_server);
    const auto initial = protocol::decode_sasl_initial_response(first);
    const auto challenge = server.take_initial_response(*initial);
    EXPECT_TRUE(challenge.has_value());
    answers = hear(AuthenticationCode::sasl_continue, bytes_of(*challenge));
    while (answers.to_server.empty() && progress_ == Login::Progress::waiting && uv_loop_alive(&loop_) != 0) {
      uv_run(&loop_, UV_RUN_ONCE);
      answers = go_on();
    }
    const auto last = body_of(answers.to_server);
    const auto final = server.take_response(last);
    EXPECT_TRUE(final.has_value());
    answers = hear(AuthenticationCode::sasl_final, bytes_of(final.value_or("")));
    EXPECT_TRUE(answers.to_client.empty());
    return hear(AuthenticationCode::ok, {});
  }

  static Bytes body_of(const Bytes& message) { return {message.begin() + 5, message.end()}; }

  uv_loop_t loop_{};
  Counter owner_;
  std::optional<ScramKeyCache> key_cache_{std::in_place, &loop_};
  std::unique_ptr<TerminatedLogin> login_;
  Bytes from_server_;
  Login::Progress progress_ = Login::Progress::waiting;
};

// Returns the codes of the authentication messages in `bytes`.
std::vector<std::uint32_t> codes_of(const Bytes& bytes) {
  std::vector<std::uint32_t> codes;
  protocol::ByteReader in(bytes);
  while (const auto message = protocol::decode_message(in, 10'000).value_or(std::nullopt))
    codes.push_back(static_cast<std::uint32_t>(protocol::decode_authentication(message->body)->code));
  return codes;
}

TEST_F(TerminatedLogins, FromAVerifierCostNoPbkdf2) {
  begin(std::make_unique<ScramClientAuthenticator>("ann", AuthUser{secret(), nullptr}, Bytes()));
  EXPECT_EQ(login_->client_part(), Login::ClientPart::silent);
  EXPECT_EQ(codes_of(offer().to_client), (std::vector<std::uint32_t>{10}));
  EXPECT_EQ(login_->client_part(), Login::ClientPart::answered);

  protocol::ScramClient client(scram_hash(), {}, new_scram_nonce());
  const auto start = client.start({protocol::kScramSha256});
  Bytes said;
  protocol::encode_sasl_initial_response({start->mechanism, bytes_of(start->client_first)}, said);
  auto answers = take(said);
  const Bytes challenge = body_of(answers.to_client);
  ASSERT_TRUE(client.take_server_first(ByteView(challenge).subspan(4)).has_value());
  const auto final = client.answer(protocol::keys_of(salted_password(kPassword, kSalting), scram_hash()));
  said.clear();
  protocol::encode_sasl_response(bytes_of(*final), said);
  EXPECT_TRUE(take(said).to_client.empty()) << "the client hears of it when the server has accepted";
  EXPECT_EQ(login_->client_part(), Login::ClientPart::silent);

  answers = run_server(go_on());
  EXPECT_EQ(codes_of(answers.to_client), (std::vector<std::uint32_t>{12, 0}));
  EXPECT_EQ(key_cache_->computations(), 0U);
  EXPECT_EQ(login_->server_method(), protocol::kScramSha256);
}

TEST_F(TerminatedLogins, FromAHeldPasswordCostItOnce) {
  for (int login = 0; login < 3; ++login) {
    Credential held =
        std::make_unique<KnownPassword>(std::make_shared<const protocol::SecretText>(kPassword), "passfile");
    begin(nullptr, &held);
    EXPECT_EQ(codes_of(run_server(offer()).to_client), (std::vector<std::uint32_t>{0}));
    EXPECT_EQ(login_->client_part(), Login::ClientPart::silent);
  }
  EXPECT_EQ(key_cache_->computations(), 1U);
}

TEST_F(TerminatedLogins, EndWithTheirDenialInPlaceOfTheServersAcceptance) {
  Credential held =
      std::make_unique<KnownPassword>(std::make_shared<const protocol::SecretText>(kPassword), "passfile");
  begin(nullptr, &held, Ending{.reason = Reason::admin_database_denied});
  EXPECT_TRUE(run_server(offer()).to_client.empty());
  EXPECT_EQ(progress_, Login::Progress::failed);
  EXPECT_EQ(login_->ending().reason, Reason::admin_database_denied);
}

TEST_F(TerminatedLogins, DoNotAskAClientForWhatTheServerWillNotTake) {
  begin(std::make_unique<PasswordClientAuthenticator>("ann"));
  const Bytes salt{1, 2, 3, 4};
  EXPECT_TRUE(hear(AuthenticationCode::md5_password, salt).to_client.empty());
  EXPECT_EQ(progress_, Login::Progress::failed);
  EXPECT_EQ(login_->ending().reason, Reason::upstream_auth_not_allowed);
}

}  // namespace
}  // namespace pgveil::proxy
