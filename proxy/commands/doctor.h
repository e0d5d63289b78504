// `pgveil doctor`: examines servers, and says of each fault what causes it and what to change.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/secret.h"
#include "proxy/config/config.h"
#include "proxy/doctor/login_survey.h"

namespace pgveil::proxy {

struct DoctorRequest {
  std::optional<UpstreamConfig> server;  // nullopt: every upstream of a configuration
  // Of sslkey of the server, whose `sslpassword` is empty; null: none.
  std::shared_ptr<const protocol::SecretText> key_passphrase = nullptr;
  std::vector<std::string> notes;     // what of the command line has no effect
  LoginRequest login;                 // its password may be that of a password file, too
  std::vector<std::string> sslmodes;  // of libpq, to forecast; empty: none
  std::string passfile;               // --passfile; empty: not given
  std::string default_passfile;       // the file to use otherwise, if it exists; empty: none
  std::string chain_file;             // where the chain of the only server is saved; empty: nowhere
  bool as_json = false;
};

// Prints the reports to standard output, or all errors of the settings to standard error. Returns kExitOk if nothing is wrong,
// kExitUnavailable if a server has a fault, kExitConfig after errors of the settings, and kExitCannotCreate if the chain cannot
// be saved. Wipes the passphrases in `parsed` and `request` as soon as the keys are loaded.
[[nodiscard]] int run_doctor(ParsedConfig& parsed, DoctorRequest& request);

}  // namespace pgveil::proxy
