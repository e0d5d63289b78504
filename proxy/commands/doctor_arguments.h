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

// Returns the request, or the error in the first value that is wrong. `sslpassword` is the passphrase of --sslkey.
[[nodiscard]] tl::expected<DoctorRequest, EarlyExit> read_doctor_request(const DoctorArguments& given,
                                                                         const std::string& sslpassword);

// Returns the request for the servers of a configuration.
[[nodiscard]] DoctorRequest configured_doctor_request(const DoctorArguments& given);

}  // namespace pgveil::proxy
