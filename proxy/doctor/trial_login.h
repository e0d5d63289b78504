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
#include "proxy/login/login.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

class TrialLogin final : private Wakeable {
 public:
  using Time = std::chrono::milliseconds;

  // Why the login was not completed: one of the three.
  struct Failure {
    std::optional<Ending> ending;                  // pgveil has ended it
    std::optional<protocol::ErrorFields> refusal;  // the server has refused it
    std::string error;                             // the connection is lost, or the server is too slow
  };

  // `time` is that of the connection, and again that of the whole login and of each answer to a query.
  TrialLogin(const std::shared_ptr<const Upstream>& upstream, const protocol::Bytes& first_bytes,
             const LoginRequest& login, Time time);

  // Logs in, until the server's first ReadyForQuery. A password is sent only after the server was verified over TLS: without
  // TLS the login fails before its first byte. Returns the failure, if any.
  [[nodiscard]] std::optional<Failure> log_in();

  // May be called after log_in() has succeeded. The error of a query is a part of its answer. The error of this function means
  // that the connection is lost, also because an answer is late: each later call returns the same error at once.
  [[nodiscard]] tl::expected<protocol::QueryAnswer, std::string> ask(std::string_view sql);
  // Ends the session in the regular way.
  void close();

  // Returns the method of the login, such as "SCRAM-SHA-256-PLUS"; "none" if the server has asked for nothing.
  [[nodiscard]] std::string_view method() const { return method_; }
  // Returns what the server has reported by ParameterStatus, such as server_version.
  [[nodiscard]] const std::map<std::string, std::string>& parameters() const { return parameters_; }
  // Returns the results of the handshake.
  [[nodiscard]] std::shared_ptr<const tls::Established> tls() const { return link_.tls(); }
  [[nodiscard]] StepDuration duration() const { return duration_; }

 private:
  void wake() override {}
  [[nodiscard]] std::unique_ptr<Login> new_login(const tls::Established& tls);
  [[nodiscard]] std::optional<Failure> exchange(Login& login);
  [[nodiscard]] Login::Progress advance(Login& login);
  void note_parameters(protocol::ByteView messages);
  [[nodiscard]] tl::expected<protocol::QueryAnswer, std::string> receive_answer();

  const std::shared_ptr<const Upstream> upstream_;
  const LoginRequest login_;
  const Time time_;
  LoneLink link_;
  ScramKeyCache key_cache_;
  protocol::Bytes received_;  // from the server, and not used yet
  std::string method_ = "none";
  std::map<std::string, std::string> parameters_;
  std::string lost_;  // why nothing can be asked any more; empty: the connection can be used
  StepDuration duration_{0};
};

}  // namespace pgveil::proxy
