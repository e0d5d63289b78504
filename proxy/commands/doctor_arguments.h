// The options of `pgveil doctor`, and the server that they describe.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <tl/expected.hpp>

#include "proxy/commands/arguments.h"
#include "proxy/commands/doctor.h"

namespace pgveil::proxy {

// Adds the options of the command, except for --config.
void add_doctor_options(CLI::App& command, DoctorArguments& arguments);

// Whether the options describe a server, so that no configuration is read.
[[nodiscard]] bool describes_server(const DoctorArguments& arguments);

// The variables that have an effect on a server that the options describe. Empty: not set.
struct DoctorVariables {
  std::string sslpassword = {};  // PGVEIL_SSLPASSWORD: the passphrase of --sslkey
  std::string password = {};     // PGPASSWORD
  std::string passfile = {};     // PGPASSFILE
  std::string home = {};         // HOME, for ~/.pgpass
};

// Returns the request, or the error in the first value that is wrong. A password in it is the first of those that libpq would
// take: of the connection string, then of PGPASSWORD.
[[nodiscard]] tl::expected<DoctorRequest, EarlyExit> read_doctor_request(const DoctorArguments& given,
                                                                         const DoctorVariables& variables);

// Returns the request for the servers of a configuration, or the error in the first option that is wrong.
[[nodiscard]] tl::expected<DoctorRequest, EarlyExit> configured_doctor_request(const DoctorArguments& given);

}  // namespace pgveil::proxy
