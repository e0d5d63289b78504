// The options of `pgveil certs`, and the request that they make.
#pragma once

#include <CLI/CLI.hpp>
#include <string_view>
#include <tl/expected.hpp>

#include "proxy/commands/arguments.h"
#include "proxy/commands/certs.h"

namespace pgveil::proxy {

inline constexpr std::string_view kCertsActions =
    "The commands of certs are ca, server, client, renew, revoke, crl and show.";

// Adds the command with its own commands, which write to `arguments`.
CLI::App& add_certs(CLI::App& app, CertsArguments& arguments);

// Returns the request, or the error in the first value that is wrong.
[[nodiscard]] tl::expected<CertsRequest, EarlyExit> read_certs_request(const CertsArguments& arguments);

}  // namespace pgveil::proxy
