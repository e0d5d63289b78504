// The commands of pgveil with their options and arguments, as data. They are what `--help` shows; the manual pages and the
// completion of shells are written from them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace CLI {  // NOLINT(readability-identifier-naming): the name that CLI11 has
class App;
}

namespace pgveil::proxy {

enum class ValueKind { nothing, text, word, file, directory };

// An option, or an argument that has no name on the command line.
struct OptionWords {
  std::vector<std::string> names;  // "--help" and "-h"; of an argument: "file"
  std::string type;                // of the value, as --help shows it; may be empty
  std::string effect;
  std::string group;  // "Listener"
  ValueKind value = ValueKind::text;
  std::vector<std::string> words;  // of ValueKind::word; one that ends with "=" is continued with text
  bool is_value_optional = false;  // `--flag` alone is true
  bool is_repeatable = false;
};

struct CommandWords {
  std::string name;  // after "pgveil": "certs server"; empty for pgveil itself
  std::string effect;
  std::vector<OptionWords> options;
  std::vector<OptionWords> arguments;
  std::vector<CommandWords> commands;
};

[[nodiscard]] CommandWords words_of(const CLI::App& app);

// Returns "server" of "certs server". It is valid as long as `name`.
[[nodiscard]] std::string_view last_word(const std::string& name);

// Calls `use` with each command, those of `certs` included, but not with pgveil itself.
template <class Use>
void visit_commands(const CommandWords& parent, const Use& use) {
  for (const CommandWords& command : parent.commands) {
    use(command);
    visit_commands(command, use);
  }
}

}  // namespace pgveil::proxy
