// A login in which pgveil authenticates the client itself, if the rule requires it, and logs in to the server
// with the client's credential or with its own. The client gets the server's other messages in their order
// (PROTOCOL: NegotiateProtocolVersion before the first request, the rest after AuthenticationOk).
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "proxy/login/client_authenticator.h"
#include "proxy/login/login.h"
#include "proxy/login/server_authenticator.h"

namespace pgveil::proxy {

class TerminatedLogin final : public Login {
 public:
  // `client` is null if the client is not authenticated here: then `server` has its credential already. `denial`: with it
  // the login ends once the client is authenticated and the server has accepted.
  TerminatedLogin(std::unique_ptr<ClientAuthenticator> client, std::unique_ptr<ServerAuthenticator> server,
                  std::optional<Ending> denial = {})
      : client_(std::move(client)), server_(std::move(server)), denial_(std::move(denial)) {}

  [[nodiscard]] ClientPart client_part() const override {
    return is_asking_ ? ClientPart::answered : ClientPart::silent;
  }
  [[nodiscard]] bool take_client(protocol::ByteReader& from_client, LoginAnswers& answers) override;
  [[nodiscard]] std::string_view server_method() const override { return server_->method(); }

 private:
  [[nodiscard]] Taken take_authentication(const protocol::Authentication& authentication,
                                          const protocol::Message& message, LoginAnswers& answers) override;
  [[nodiscard]] Taken ask_client(const protocol::Authentication& first_request, LoginAnswers& answers);
  [[nodiscard]] std::optional<Ending> check_refusal(const protocol::ErrorFields& error,
                                                    bool authenticated) override;

  std::unique_ptr<ClientAuthenticator> client_;
  std::unique_ptr<ServerAuthenticator> server_;
  const std::optional<Ending> denial_;
  bool is_asking_ = false;
  bool has_credential_ = false;
};

}  // namespace pgveil::proxy
