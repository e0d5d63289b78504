// The login that `pgveil doctor` tries.
#pragma once

#include <memory>
#include <string>

#include "protocol/secret.h"
#include "proxy/doctor/report.h"

namespace pgveil::proxy {

struct LoginRequest {
  std::string user;  // empty: the StartupMessage has none, so a server refuses it before it reads its rules
  std::string database;  // empty: the server's default
  // Null: no password is known, so a login for which the server wants one is not completed.
  std::shared_ptr<const protocol::SecretText> password = nullptr;
  // The variable or file that has the password, or could have it, such as "PGPASSWORD". Empty: there is none.
  std::string password_source = {};
  Side password_side = Side::client;  // who has to correct it
  bool is_configured = false;         // the settings are those of an upstream in a configuration
  bool has_password_command = false;  // of the upstream, which a session would run for the password
};

}  // namespace pgveil::proxy
