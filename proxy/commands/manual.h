// The manual pages.
#pragma once

#include <string>

#include "proxy/commands/command_words.h"

namespace pgveil::proxy {

// pgveil(1): `pgveil` with all its commands.
[[nodiscard]] std::string manual(const CommandWords& pgveil);

// pgveil.toml(5): every key of the configuration file.
[[nodiscard]] std::string file_manual();

}  // namespace pgveil::proxy
