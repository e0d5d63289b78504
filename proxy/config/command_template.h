// The setting password_command as a template: a program and arguments, in which %h is the host, %p the port,
// %u the user, %d the database of the login, and %% a percent sign.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "proxy/config/config_error.h"

namespace pgveil::proxy {

// The login that a password is for. The command finds it in PGHOST, PGPORT, PGUSER and PGDATABASE, too.
struct PasswordTarget {
  std::string host;
  std::uint16_t port = 0;
  std::string user;
  std::string database;
};

// What is wrong with a command, without a location; nullopt: nothing.
[[nodiscard]] std::optional<ConfigError> check_password_command(const std::vector<std::string>& argv);

// argv as the program gets it. A client chooses its user and database: neither may become an option. Or why
// the program is not run, as the end of a sentence that begins with the setting. `argv` must have passed
// check_password_command().
[[nodiscard]] tl::expected<std::vector<std::string>, std::string> expand_command(
    const std::vector<std::string>& argv, const PasswordTarget& target);

}  // namespace pgveil::proxy
