#include "proxy/commands/arguments.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "tests/proxy/commands/invocations.h"

namespace pgveil::proxy {
namespace {

struct Misused {
  std::string name;
  Words arguments;
  std::string text;
};
void PrintTo(const Misused& row, std::ostream* out) {
  *out << row.name;
}
class MisusedCommandLine : public testing::TestWithParam<Misused> {};

TEST_P(MisusedCommandLine, AnswersExUsageAndSaysWhy) {
  const auto ending = ending_of(GetParam().arguments);
  EXPECT_EQ(ending.exit_code, kExitUsage);
  EXPECT_EQ(ending.output, "");
  EXPECT_PRED_FORMAT2(testing::IsSubstring, GetParam().text, ending.errors);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(CommandLine, MisusedCommandLine, testing::Values(
    Misused{"NoCommand", {}, "error: no command given\n  hint: The commands are run, check, probe, status, sessions, terminate, certs, explain, doctor and generate.\n"},
    Misused{"UnknownCommand", {"bogus"}, "error: unknown command \"bogus\"\n  hint: The commands are run, check, probe, status, sessions, terminate, certs, explain, doctor and generate.\n"},
    Misused{"MistypedCommand", {"chek"}, "error: unknown command \"chek\"\n  hint: Did you mean \"check\"?\n"},
    Misused{"OptionBeforeTheCommand", {"--listen=127.0.0.1:5432", "run"},
            "error: no command before the option \"--listen\"\n  hint: Write the command first: pgveil run --listen ...\n"},
    Misused{"UnknownOptionBeforeTheCommand", {"--lissten", "127.0.0.1:5432", "run"},
            "error: unknown option \"--lissten\"\n  hint: Did you mean \"--listen\"?\n"},
    Misused{"TwoCommands", {"run", "check"}, "error: unexpected argument \"check\"\n"},
    Misused{"NothingToRelay", {"run"},
            "error: no configuration is given\n  hint: Give --listen and --upstream, or --config FILE.\n"},
    Misused{"UnknownOption", kSound + Words{"--sslrootcrt", "x"},
            "error: unknown option \"--sslrootcrt\"\n  hint: Did you mean \"--sslrootcert\"?\n"},
    Misused{"OptionLikeNoOther", {"run", "--colour", "x"}, "error: unknown option \"--colour\"\nRun "},
    Misused{"ShortOption", {"run", "-l"}, "error: unknown option \"-l\"\nRun "},
    Misused{"KeyOfTheFile", {"run", "--host", "db01"}, "error: unknown option \"--host\"\n  hint: Did you mean \"--upstream\"?\n"},
    Misused{"SectionAndKey", {"run", "--limits-max-sessions=3"},
            "error: unknown option \"--limits-max-sessions\"\n  hint: Did you mean \"--max-sessions\"?\n"},
    Misused{"Port", {"run", "--port", "5432"}, "  hint: Write the port after the host: --upstream db01:5433.\n"},
    Misused{"KeyWithoutOption", {"run", "--password-command", "x"},
            "  hint: Set password_command in the file of --config: it has no option.\n"},
    Misused{"Passphrase", {"run", "--sslpassword", "x"}, "  hint: Use the environment variable PGVEIL_SSLPASSWORD.\n"},
    Misused{"ArgumentWithoutOption", kSound + Words{"x"}, "error: unexpected argument \"x\"\n  hint: Each value follows "},
    Misused{"FileWithoutOption", {"run", "pgveil.toml"},
            "error: unexpected argument \"pgveil.toml\"\n  hint: To use a configuration file, write --config pgveil.toml.\n"},
    Misused{"OptionWithoutValue", {"run", "--listen"}, "error: option \"--listen\" requires a value\n"},
    Misused{"OptionWithAnEmptyValue", {"run", "--listen="}, "error: option \"--listen\" requires a value\n"},
    Misused{"OptionInPlaceOfAValue", {"run", "--listen", "--upstream", "db01"},
            "error: option \"--listen\" requires a value\n"},
    Misused{"CertsWithoutACommand", {"certs"}, "error: certs requires a command\n  hint: The commands of certs are ca, server, "},
    Misused{"CertsWithAnUnknownCommand", {"certs", "bogus"}, "error: unknown command \"bogus\"\n  hint: The commands of certs are ca, "},
    Misused{"CertsWithAMistypedCommand", {"certs", "clinet"}, "error: unknown command \"clinet\"\n  hint: Did you mean \"client\"?\n"},
    Misused{"CertsWithAnOptionOfNoCommand", {"certs", "--dir", "x"}, "error: unknown option \"--dir\"\nRun \"pgveil certs --help\""},
    Misused{"MistypedOptionOfCerts", {"certs", "server", "--hots", "x"},
            "error: unknown option \"--hots\"\n  hint: Did you mean \"--host\"?\nRun \"pgveil certs server --help\" to see"},
    Misused{"OptionOfAnotherCommandOfCerts", {"certs", "server", "--host", "x", "--user", "y"}, "error: unknown option \"--user\"\n"},
    Misused{"ArgumentOfCertsWithoutOption", {"certs", "client", "--user", "x", "y"}, "error: unexpected argument \"y\"\n"},
    Misused{"OptionOfCertsWithoutValue", {"certs", "server", "--host"}, "error: option \"--host\" requires a value\n"},
    Misused{"OptionOfCertsTwice", {"certs", "client", "--user", "x", "--user", "y"},
            "error: option \"--user\" is given more than once\nRun \"pgveil certs client --help\" to see"},
    Misused{"OptionTwice", kSound + Words{"--listen", "127.0.0.1:1"}, "error: option \"--listen\" is given more than once\n"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(CommandLine, NamesTheOptionForHelpAfterEachError) {
  for (const Words& words : {Words{}, Words{"bogus"}, Words{"run", "x"}, Words{"run", "--bogus"}}) {
    const auto errors = ending_of(words).errors;
    EXPECT_TRUE(errors.ends_with("\nRun \"pgveil run --help\" to see all options.\n")) << errors;
  }
}

}  // namespace
}  // namespace pgveil::proxy
