// A login that is completed, on a connection that is made and verified as that of a session is; then queries.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "protocol/backend.h"
#include "protocol/bytes.h"
#include "protocol/query_reader.h"
#include "proxy/credentials/scram_key_cache.h"
#include "proxy/doctor/login_request.h"
#include "proxy/doctor/lone_link.h"
#include "proxy/doctor/report.h"
#include "proxy/login/server_authenticator.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

class TrialLogin final : private Wakeable {
 public:
  using Time = std::chrono::milliseconds;

  // Why the login was not completed: one of the three.
  struct Failure {
    std::optional<Ending> ending;                  // pgveil has ended it
    std::optional<protocol::ErrorFields> refusal;  // the server has refused it
    std::string error;                             // the connection is lost, or the server is silent
  };

  // `time` is that of the connection, and again that of each answer of the server.
  TrialLogin(const std::shared_ptr<const Upstream>& upstream, const protocol::Bytes& first_bytes,
             const LoginRequest& login, Time time);

  // Logs in, until the server's first ReadyForQuery. A password is sent only after the server was verified over TLS: without
  // TLS the login fails before its first byte. Returns the failure, if any.
  [[nodiscard]] std::optional<Failure> log_in();

  // May be called after log_in() has succeeded. The error of a query is a part of its answer; the error of this function means
  // that the connection is lost.
  [[nodiscard]] tl::expected<protocol::QueryAnswer, std::string> ask(std::string_view sql);
  // Ends the session in the regular way.
  void close();

  // Returns the method of the login, such as "SCRAM-SHA-256-PLUS"; "none" if the server has asked for nothing.
  [[nodiscard]] std::string_view method() const { return authenticator_ ? authenticator_->method() : "none"; }
  // Returns what the server has reported by ParameterStatus, such as server_version.
  [[nodiscard]] const std::map<std::string, std::string>& parameters() const { return parameters_; }
  // Returns the results of the handshake.
  [[nodiscard]] std::shared_ptr<const tls::Established> tls() const { return link_.tls(); }
  [[nodiscard]] StepDuration duration() const { return duration_; }

 private:
  void wake() override {}
  [[nodiscard]] std::optional<Failure> exchange();
  // Takes one message. `done`: the session is ready.
  [[nodiscard]] std::optional<Failure> take(char type, protocol::ByteView body, bool& done);
  [[nodiscard]] std::optional<Failure> answer(const protocol::Authentication& request);

  const std::shared_ptr<const Upstream> upstream_;
  const LoginRequest login_;
  const Time time_;
  LoneLink link_;
  ScramKeyCache key_cache_;
  std::optional<ServerAuthenticator> authenticator_;
  std::map<std::string, std::string> parameters_;
  StepDuration duration_{0};
};

}  // namespace pgveil::proxy
