#include "proxy/config/command_template.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace pgveil::proxy {
namespace {

// What stands for %h, %p, %u or %d; nullopt for any other letter.
std::optional<std::string> value_of(char letter, const PasswordTarget& target) {
  switch (letter) {
    case '%': return "%";
    case 'h': return target.host;
    case 'p': return std::to_string(target.port);
    case 'u': return target.user;
    case 'd': return target.database;
    default: return std::nullopt;
  }
}

std::string expanded(std::string_view argument, const PasswordTarget& target) {
  std::string text;
  for (std::size_t i = 0; i < argument.size(); ++i) {
    if (argument[i] == '%' && i + 1 < argument.size())
      text += value_of(argument[++i], target).value_or("");
    else
      text += argument[i];
  }
  return text;
}

bool names_login(std::string_view argument) {
  // Two percent signs are one, whatever follows them.
  for (std::size_t i = 0; i + 1 < argument.size(); ++i) {
    if (argument[i] != '%') continue;
    if (argument[++i] != '%') return true;
  }
  return false;
}

bool is_shell(std::string_view program) {
  constexpr std::array<std::string_view, 7> kShells{"sh", "ash", "bash", "dash", "ksh", "mksh", "zsh"};
  return std::ranges::find(kShells, program.substr(program.rfind('/') + 1)) != kShells.end();
}

// Where the text of a script stands: the first argument after a shell's -c that is not an option, or -ec and the like.
// Other programs may stand before the shell, such as timeout.
std::size_t place_of_script(const std::vector<std::string>& argv) {
  const auto is_option = [](const std::string& argument) { return argument.starts_with('-'); };
  const auto is_c = [](const std::string& argument) {
    return argument.starts_with('-') && !argument.starts_with("--") && argument.find('c') != argument.npos;
  };
  const auto shell = std::find_if(argv.begin(), argv.end(), is_shell);
  const auto option = std::find_if(shell, argv.end(), is_c);
  const auto script = std::find_if_not(option, argv.end(), is_option);
  return static_cast<std::size_t>(script - argv.begin());
}

}  // namespace

std::optional<ConfigError> check_password_command(const std::vector<std::string>& argv) {
  if (argv.empty() || argv[0].empty())
    return value_error("does not name a program", "Write the program as the first element.");
  const std::size_t script = place_of_script(argv);
  for (std::size_t place = 0; place < argv.size(); ++place) {
    const std::string& argument = argv[place];
    if (argument.find('\0') != std::string::npos) return value_error("contains a NUL byte", "Remove it.");
    for (std::size_t i = 0; i < argument.size(); ++i) {
      if (argument[i] != '%') continue;
      if (++i == argument.size() || !value_of(argument[i], {}))
        return value_error(
            "contains a % that is not followed by h, p, u, d or %",
            "Write %h for the host, %p for the port, %u for the user, %d for the database, and %% "
            "for a percent sign.");
    }
    if (!names_login(argument)) continue;
    if (place == 0)
      return value_error("takes the name of the program from the login", "Write the program without %.");
    if (place == script)
      return value_error(
          "runs a script that contains names sent by the client",
          R"(Use "$PGHOST", "$PGPORT", "$PGUSER" and "$PGDATABASE" in the script, in double quotes.)");
  }
  return std::nullopt;
}

tl::expected<std::vector<std::string>, std::string> expand_command(const std::vector<std::string>& argv,
                                                                   const PasswordTarget& target) {
  std::vector<std::string> arguments;
  arguments.reserve(argv.size());
  for (const std::string& argument : argv) {
    arguments.push_back(expanded(argument, target));
    if (arguments.back().starts_with('-') && !argument.starts_with('-'))
      return tl::unexpected<std::string>(R"(is not run for a user or database whose name begins with "-")");
  }
  return arguments;
}

}  // namespace pgveil::proxy
