#include "proxy/credentials/command_password.h"

#include <utility>

namespace pgveil::proxy {

CommandPassword::CommandPassword(PasswordCommands& commands, const UpstreamConfig& upstream,
                                 PasswordTarget target, Wakeable& owner)
    : commands_(commands),
      config_{.argv = upstream.password_command,
              .timeout = upstream.password_command_timeout,
              .ttl = upstream.password_command_ttl},
      target_(std::move(target)),
      owner_(owner) {}

PasswordSource::State CommandPassword::state() {
  if (!request_) request_ = commands_.request(config_, target_, owner_);
  const auto& answer = request_->answer();
  if (!answer) return State::pending;
  return *answer ? State::ready : State::failed;
}

const protocol::SecretText& CommandPassword::password() const {
  return ***request_->answer();
}

Ending CommandPassword::ending() const {
  return {.reason = Reason::password_command_failed,
          .detail = request_->answer()->error(),
          .hint = "Run it by hand as the user of this process; what it writes to stderr stands in pgveil's."};
}

void CommandPassword::refused() {
  if (request_ && request_->answer() && *request_->answer())
    commands_.forget(config_, target_, ***request_->answer());
}

}  // namespace pgveil::proxy
