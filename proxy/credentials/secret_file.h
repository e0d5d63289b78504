// Files that hold passwords: read whole, wiped when they go, and refused where others may read them.
#pragma once

#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "protocol/secret.h"
#include "proxy/config/config.h"
#include "proxy/config/config_error.h"

struct stat;

namespace pgveil::proxy {

// What is wrong with the owner or the mode of a file that holds secrets, after its name, and how to correct
// it; nullopt: nothing.
struct AccessFault {
  std::string message;
  std::string hint;
};
[[nodiscard]] std::optional<AccessFault> find_access_fault(const struct stat& file,
                                                           const std::string& content);

// The mode is that of a private key: 0600, or 0640 where root owns the file. `key` is the setting's in
// `locations`.
[[nodiscard]] tl::expected<protocol::SecretText, ConfigError> read_secret_file(
    const std::string& path, const std::string& key, const SourceLocations& locations);

}  // namespace pgveil::proxy
