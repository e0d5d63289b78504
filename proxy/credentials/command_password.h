// The password of a login that password_command prints.
#pragma once

#include <memory>
#include <string>

#include "proxy/config/config.h"
#include "proxy/credentials/password_command.h"
#include "proxy/credentials/password_source.h"

namespace pgveil::proxy {

class CommandPassword final : public PasswordSource {
 public:
  // `commands` and `owner` must outlive it.
  CommandPassword(PasswordCommands& commands, const UpstreamConfig& upstream, PasswordTarget target,
                  Wakeable& owner);

  [[nodiscard]] State state() override;
  [[nodiscard]] const protocol::SecretText& password() const override;
  [[nodiscard]] Ending ending() const override;
  void refused() override;
  [[nodiscard]] std::string_view setting() const override { return "password_command"; }

 private:
  PasswordCommands& commands_;
  const PasswordCommandConfig config_;
  const PasswordTarget target_;
  Wakeable& owner_;
  std::unique_ptr<PasswordRequest> request_;
};

}  // namespace pgveil::proxy
