// The completion of commands, options and their values, as scripts for shells.
#pragma once

#include <string>

#include "proxy/commands/command_words.h"

namespace pgveil::proxy {

// Works with and without the package bash-completion.
[[nodiscard]] std::string bash_completion(const CommandWords& pgveil);

// For a directory of fpath, or to be read by `source` after compinit.
[[nodiscard]] std::string zsh_completion(const CommandWords& pgveil);

[[nodiscard]] std::string fish_completion(const CommandWords& pgveil);

}  // namespace pgveil::proxy
