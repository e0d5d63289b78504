#include "proxy/commands/completion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string_view>
#include <vector>

namespace pgveil::proxy {
namespace {

// `text` with a backslash before each of `letters`.
std::string with_escapes(std::string_view text, std::string_view letters) {
  std::string result;
  for (const char letter : text) {
    if (letters.find(letter) != std::string_view::npos) result += '\\';
    result += letter;
  }
  return result;
}

// In single quotes, for bash and zsh.
std::string shell_quoted(std::string_view text) {
  std::string result = "'";
  for (const char letter : text)
    if (letter == '\'')
      result += "'\\''";
    else
      result += letter;
  return result + '\'';
}

// Without the full stop, and without backticks.
std::string short_effect(std::string text) {
  std::erase(text, '`');
  if (text.ends_with('.')) text.pop_back();
  return text;
}

std::vector<std::string> names_of_commands(const CommandWords& parent) {
  std::vector<std::string> names;
  for (const CommandWords& command : parent.commands) names.emplace_back(last_word(command.name));
  return names;
}

std::vector<std::string> names_of_options(const CommandWords& command) {
  std::vector<std::string> names;
  for (const OptionWords& option : command.options)
    names.insert(names.end(), option.names.begin(), option.names.end());
  return names;
}

// --- bash ---

// $typed is the word in front of the cursor, as far as it is typed, and $previous the word before it. A word of the shell
// ends at the characters of COMP_WORDBREAKS, such as "=" and ":"; what is in front of the last of them stays as it is.
constexpr std::string_view kBashFunctions =
    R"bash(# Completion of pgveil for bash. Printed by: pgveil generate bash

_pgveil_offer() {
  local prefix=$1 kept=() part word
  shift
  part=${typed%"${typed##*[=:]}"}
  [[ $part != *: || $COMP_WORDBREAKS == *:* ]] || part=${typed%"${typed##*=}"}
  [[ $part != *= || $COMP_WORDBREAKS == *=* ]] || part=
  for word in "$@"; do
    [[ $prefix$word != "$typed"* ]] || kept+=("$prefix$word")
  done
  COMPREPLY=("${kept[@]#"$part"}")
  [[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != *= ]] || compopt -o nospace
}

# Lists of words are split at blanks.
# shellcheck disable=SC2086
_pgveil() {
  local line=${COMP_LINE:0:COMP_POINT} words=() typed previous option prefix='' command
  local commands='' options='' values='' kind='' arguments='' IFS=$' \t\n'
  typed=${line##*[[:blank:]]}
  read -ra words <<<"${line%"$typed"}"
  previous=${words[${#words[@]} - 1]}
  command=${words[1]-}
  [[ $command != certs || -z ${words[2]-} ]] || command+=" ${words[2]}"
  option=$previous
  if [[ $typed == --*=* ]]; then
    option=${typed%%=*}
    prefix=$option=
  fi
  COMPREPLY=()
)bash";

constexpr std::string_view kBashEnd = R"bash(
  case $kind in
    word) _pgveil_offer "$prefix" $values; return ;;
    boolean)
      if [[ -n $prefix || $typed != -* ]]; then
        _pgveil_offer "$prefix" $values
        return
      fi
      ;;
    file) compopt -o default; return ;;
    directory) compopt -o dirnames; return ;;
    text) return ;;
  esac
  if [[ $typed == -* ]]; then
    _pgveil_offer '' $options
  elif [[ $arguments == file ]]; then
    compopt -o default
  elif [[ -n $commands$arguments ]]; then
    _pgveil_offer '' $commands $arguments
  else
    _pgveil_offer '' $options
  fi
}

complete -F _pgveil pgveil
)bash";

std::string_view bash_kind(const OptionWords& option) {
  switch (option.value) {
    case ValueKind::nothing: return "";
    case ValueKind::text: return "text";
    case ValueKind::word: return option.is_value_optional ? "boolean" : "word";
    case ValueKind::file: return "file";
    case ValueKind::directory: return "directory";
  }
  return "";
}

// What is offered in place of an argument without a name: words, or files.
std::string bash_arguments(const CommandWords& command) {
  for (const OptionWords& argument : command.arguments) {
    if (argument.value == ValueKind::file) return "file";
    if (argument.value == ValueKind::word) return fmt::format("{}", fmt::join(argument.words, " "));
  }
  return "";
}

std::string bash_command(const CommandWords& command) {
  std::string text = fmt::format("    {})\n      options='{}'\n", shell_quoted(command.name),
                                 fmt::join(names_of_options(command), " "));
  if (!command.commands.empty())
    text += fmt::format("      commands='{}'\n", fmt::join(names_of_commands(command), " "));
  if (const std::string arguments = bash_arguments(command); !arguments.empty())
    text += fmt::format("      arguments='{}'\n", arguments);
  text += "      case $option in\n";
  for (const OptionWords& option : command.options) {
    if (option.value == ValueKind::nothing) continue;
    text += fmt::format("        {}) kind='{}'", fmt::join(option.names, " | "), bash_kind(option));
    if (!option.words.empty()) text += fmt::format(" values='{}'", fmt::join(option.words, " "));
    text += " ;;\n";
  }
  return text + "      esac\n      ;;\n";
}

// --- zsh ---

// What zsh calls an action: how a value is completed.
std::string zsh_action(const OptionWords& option) {
  switch (option.value) {
    case ValueKind::nothing: return "";
    case ValueKind::text: return " ";
    case ValueKind::file: return "_files";
    case ValueKind::directory: return "_files -/";
    case ValueKind::word: break;
  }
  const std::string words = with_escapes(fmt::format("{}", fmt::join(option.words, " ")), ":\\");
  return option.words.front().ends_with('=') ? "{compadd -S \"\" -- " + words + "}" : '(' + words + ')';
}

// What is shown above the values.
std::string zsh_message(const OptionWords& option) {
  return option.value == ValueKind::word || option.type.empty() ? "value" : with_escapes(option.type, ":\\");
}

std::string zsh_option(const OptionWords& option) {
  std::string text;
  const std::string effect = with_escapes(short_effect(option.effect), "[]\\");
  for (const std::string& name : option.names) {
    text += " \\\n        ";
    if (option.value == ValueKind::nothing)
      text += shell_quoted(fmt::format("{}[{}]", name, effect));
    else
      text += shell_quoted(fmt::format("{}{}=[{}]{}:{}:{}", option.is_repeatable ? "*" : "", name, effect,
                                       option.is_value_optional ? ":" : "", zsh_message(option),
                                       zsh_action(option)));
  }
  return text;
}

std::string zsh_argument(const OptionWords& argument) {
  return " \\\n        " + shell_quoted(fmt::format("{}:{}:{}", argument.is_repeatable ? "*" : "",
                                                    argument.names.front(), zsh_action(argument)));
}

// "_pgveil_certs_server".
std::string zsh_function(const std::string& command) {
  std::string name = "_pgveil";
  for (const char letter : command.empty() ? command : ' ' + command) name += letter == ' ' ? '_' : letter;
  return name;
}

// A command with commands of its own: pgveil, and `pgveil certs`.
std::string zsh_commands(const CommandWords& command) {
  std::string text =
      " \\\n        '1: :->command' '*:: :->arguments' && return\n  case $state in\n    command)\n      commands=(";
  for (const CommandWords& each : command.commands)
    text +=
        "\n        " + shell_quoted(fmt::format("{}:{}", last_word(each.name), short_effect(each.effect)));
  text +=
      "\n      )\n      _describe -t commands command commands\n      ;;\n    arguments)\n      case $words[1] in\n";
  for (const CommandWords& each : command.commands)
    text += fmt::format("        {}) {} ;;\n", last_word(each.name), zsh_function(each.name));
  return text + "      esac\n      ;;\n  esac\n";
}

std::string zsh_command(const CommandWords& command) {
  std::string text = zsh_function(command.name) + "() {\n";
  if (!command.commands.empty())
    text += "  local curcontext=$curcontext state line\n  local -a commands\n  typeset -A opt_args\n";
  text += command.commands.empty() ? "  _arguments" : "  _arguments -C";
  for (const OptionWords& option : command.options) text += zsh_option(option);
  for (const OptionWords& argument : command.arguments) text += zsh_argument(argument);
  return text + (command.commands.empty() ? "\n" : zsh_commands(command)) + "}\n\n";
}

// --- fish ---

constexpr std::string_view kFishFunctions =
    R"fish(# Completion of pgveil for fish. Printed by: pgveil generate fish

# Whether the words after pgveil begin with those of a command.
function __pgveil_in
    set -l words (commandline -opc)
    set -l last (math (count $argv) + 1)
    test (count $words) -ge $last; and test "$words[2..$last]" = "$argv"
end

# Whether the words after pgveil are those of a command and nothing else.
function __pgveil_at
    set -l words (commandline -opc)
    test "$words[2..]" = "$argv"
end

complete -c pgveil -f
)fish";

std::string fish_quoted(std::string_view text) {
  return '\'' + with_escapes(text, "\\'") + '\'';
}

std::string fish_value(const OptionWords& option) {
  switch (option.value) {
    case ValueKind::nothing: return "";
    case ValueKind::text: return " -x";
    case ValueKind::file: return " -r -F";
    case ValueKind::directory: return " -x -a '(__fish_complete_directories)'";
    case ValueKind::word: break;
  }
  const std::string words = fmt::format("{}", fmt::join(option.words, " "));
  return (option.is_value_optional ? " -a " : " -x -a ") + fish_quoted(words);
}

// "'__pgveil_in certs server'".
std::string fish_condition(const char* function, const std::string& command) {
  return fish_quoted(command.empty() ? function : fmt::format("{} {}", function, command));
}

std::string fish_option(const CommandWords& command, const OptionWords& option) {
  // The options of pgveil itself are not those of its commands.
  std::string text = "complete -c pgveil -n " +
                     fish_condition(command.name.empty() ? "__pgveil_at" : "__pgveil_in", command.name);
  for (const std::string& name : option.names)
    text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  return text + fish_value(option) + " -d " + fish_quoted(short_effect(option.effect)) + '\n';
}

std::string fish_argument(const CommandWords& command, const OptionWords& argument) {
  const std::string begin = "complete -c pgveil -n ";
  if (argument.value == ValueKind::file) return begin + fish_condition("__pgveil_in", command.name) + " -F\n";
  if (argument.value != ValueKind::word) return "";
  return begin + fish_condition("__pgveil_at", command.name) + " -a " +
         fish_quoted(fmt::format("{}", fmt::join(argument.words, " "))) + '\n';
}

std::string fish_command(const CommandWords& command) {
  std::string text = "\n";
  for (const CommandWords& each : command.commands)
    text += fmt::format("complete -c pgveil -n {} -a {} -d {}\n", fish_condition("__pgveil_at", command.name),
                        last_word(each.name), fish_quoted(short_effect(each.effect)));
  for (const OptionWords& option : command.options) text += fish_option(command, option);
  for (const OptionWords& argument : command.arguments) text += fish_argument(command, argument);
  return text;
}

}  // namespace

std::string bash_completion(const CommandWords& pgveil) {
  std::string text(kBashFunctions);
  text += "  case $command in\n" + bash_command(pgveil);
  visit_commands(pgveil, [&](const CommandWords& command) { text += bash_command(command); });
  return text.append("  esac").append(kBashEnd);
}

std::string zsh_completion(const CommandWords& pgveil) {
  std::string text = "#compdef pgveil\n# Completion of pgveil for zsh. Printed by: pgveil generate zsh\n\n";
  visit_commands(pgveil, [&](const CommandWords& command) { text += zsh_command(command); });
  // Read as a file of fpath it is the body of _pgveil; read by `source` it makes the function known.
  return text + zsh_command(pgveil) +
         "if [[ $funcstack[1] == _pgveil ]]; then\n  _pgveil \"$@\"\nelse\n  compdef _pgveil pgveil\nfi\n";
}

std::string fish_completion(const CommandWords& pgveil) {
  std::string text(kFishFunctions);
  text += fish_command(pgveil);
  visit_commands(pgveil, [&](const CommandWords& command) { text += fish_command(command); });
  return text;
}

}  // namespace pgveil::proxy
