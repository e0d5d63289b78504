#include "proxy/commands/generate.h"

#include <algorithm>
#include <array>
#include <iostream>

#include "proxy/base/exit_code.h"
#include "proxy/commands/arguments.h"
#include "proxy/commands/completion.h"
#include "proxy/commands/manual.h"

namespace pgveil::proxy {
namespace {

// In the order of Generated.
constexpr std::array<std::string_view, 5> kGenerated{"man", "toml-man", "bash", "zsh", "fish"};

}  // namespace

std::span<const std::string_view> generated_names() {
  return kGenerated;
}

std::optional<Generated> generated_of(std::string_view name) {
  const auto* const found = std::ranges::find(kGenerated, name);
  if (found == kGenerated.end()) return std::nullopt;
  return static_cast<Generated>(found - kGenerated.begin());
}

std::string generate(Generated what) {
  switch (what) {
    case Generated::manual: return manual(command_words());
    case Generated::file_manual: return file_manual();
    case Generated::bash: return bash_completion(command_words());
    case Generated::zsh: return zsh_completion(command_words());
    case Generated::fish: return fish_completion(command_words());
  }
  return "";
}

int run_generate(Generated what) {
  if (std::cout << generate(what) << std::flush) return kExitOk;
  std::cerr << "error: could not write to standard output\n";
  return kExitCannotCreate;
}

}  // namespace pgveil::proxy
