// ssl_passphrase_command, as PostgreSQL runs it.
#include "tls/internal/passphrase.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>

#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

struct Printed {
  const char* name;
  const char* command;
  const char* passphrase;
};
void PrintTo(const Printed& row, std::ostream* out) {
  *out << row.name;
}

class PassphraseCommand : public testing::TestWithParam<Printed> {};

TEST_P(PassphraseCommand, GivesTheFirstLineThatItPrints) {
  std::array<char, 64> buffer{};
  const auto size = run_passphrase_command(GetParam().command, buffer);
  ASSERT_TRUE(size) << size.error();
  EXPECT_EQ(std::string(buffer.data(), *size), GetParam().passphrase);
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Commands, PassphraseCommand, testing::Values(
    Printed{"ALine", "echo sesame", "sesame"},
    Printed{"NoEndOfLine", "printf sesame", "sesame"},
    Printed{"CarriageReturn", R"(printf 'sesame\r\n')", "sesame"},
    Printed{"TheFirstOfTwoLines", R"(printf 'sesame\npoppy\n')", "sesame"},
    Printed{"SpacesStay", R"(printf ' open sesame \n')", " open sesame "},
    Printed{"Prompt", "echo '%p'", "Enter PEM pass phrase:"},
    Printed{"PromptTwice", "echo '%p%p'", "Enter PEM pass phrase:Enter PEM pass phrase:"},
    Printed{"Percent", "echo '%%p%%'", "%p%"},
    Printed{"PercentBeforeAnotherLetter", "echo '%x%'", "%x%"},
    Printed{"WhatFits", "printf %%080d 0", "000000000000000000000000000000000000000000000000000000000000000"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

struct Failing {
  const char* name;
  const char* command;
  const char* fault;
};
void PrintTo(const Failing& row, std::ostream* out) {
  *out << row.name;
}

class FailingPassphraseCommand : public testing::TestWithParam<Failing> {};

TEST_P(FailingPassphraseCommand, IsToldWithoutWhatItPrinted) {
  std::array<char, 64> buffer{};
  const auto size = run_passphrase_command(GetParam().command, buffer);
  ASSERT_FALSE(size);
  EXPECT_EQ(size.error(), std::string("command \"") + GetParam().command + "\" " + GetParam().fault);
  EXPECT_TRUE(std::all_of(buffer.begin(), buffer.end(), [](char c) { return c == '\0'; })) << "not wiped";
}

// clang-format off
INSTANTIATE_TEST_SUITE_P(Commands, FailingPassphraseCommand, testing::Values(
    Failing{"ExitCode", "printf ses; printf ame; exit 3", "ended with exit code 3"},
    Failing{"Signal", "printf sesame; kill -9 $$", "was ended by signal 9"},
    Failing{"UnknownCommand", "/nonexistent/ask 2>&-", "ended with exit code 127"},
    Failing{"Nothing", "true", "printed no passphrase"},
    Failing{"AnEmptyLine", "echo", "printed no passphrase"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

// A server whose key is encrypted with "sesame".
class EncryptedKey : public testing::Test {
 protected:
  EncryptedKey() {
    settings_.certificates[0].ssl_key_file = site_.folder.write("locked.key", site_.server.key_pem("sesame"));
  }
  std::vector<SettingError> mistakes() {
    const auto built = ServerContext::build(settings_);
    return built ? std::vector<SettingError>() : built.error();
  }

  Site site_;
  ServerSettings settings_ = site_.server_settings();
};

TEST_F(EncryptedKey, IsOpenedByThePassphraseOfTheCommand) {
  settings_.ssl_passphrase_command = "echo sesame";
  const auto client = openssl_client();
  EXPECT_EQ(accept(Site::build(settings_), client.get()).status, Engine::Status::ready);
}

TEST_F(EncryptedKey, IsNotOpenedByAWrongPassphrase) {
  settings_.ssl_passphrase_command = "echo poppyseed";
  const auto found = mistakes();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].setting, "ssl_key_file");
  EXPECT_EQ(found[0].certificate, 0);
  EXPECT_EQ(found[0].message, "private key file \"" + site_.folder.path("locked.key") +
                                  "\" is encrypted, and ssl_passphrase_command does not open it");
}

TEST_F(EncryptedKey, IsNotOpenedByACommandThatFails) {
  settings_.ssl_passphrase_command = "cat " + site_.folder.write("secret", "sesame") + "; exit 7";
  const auto found = mistakes();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].setting, "ssl_passphrase_command");
  EXPECT_EQ(found[0].certificate, 0);
  EXPECT_NE(found[0].message.find("ended with exit code 7"), std::string::npos) << found[0].message;
  EXPECT_EQ((found[0].message + found[0].hint).find("sesame"), std::string::npos) << found[0].message;
}

TEST_F(EncryptedKey, AsksOnceAlsoWhereTheAnswerIsWrong) {
  const std::string count = site_.folder.path("count");
  settings_.ssl_passphrase_command = "echo >> " + count + "; echo poppyseed";
  ASSERT_EQ(mistakes().size(), 1U);
  std::ifstream file(count);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "\n");
}

TEST_F(EncryptedKey, IsTheOnlyOneThatTheCommandIsRunFor) {
  settings_.certificates[0].ssl_key_file = site_.folder.write("plain.der", site_.server.key_der());
  settings_.ssl_passphrase_command = "touch " + site_.folder.path("asked");
  EXPECT_TRUE(mistakes().empty());
  EXPECT_FALSE(std::filesystem::exists(site_.folder.path("asked"))) << "a key in the clear needs no command";
}

TEST_F(EncryptedKey, OfEachCertificateIsAskedFor) {
  const Identity other = issued_by(
      site_.root,
      {.common_names = {"other"}, .alternative_names = {}, .extended_key_usage = {}, .name_constraints = {}});
  settings_.certificates.push_back({{"other.example.com"},
                                    site_.folder.write("other.crt", other.certificate_pem()),
                                    site_.folder.write("other.key", other.key_pem("poppy"))});
  settings_.ssl_passphrase_command = "echo sesame";
  const auto found = mistakes();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].setting, "ssl_key_file");
  EXPECT_EQ(found[0].certificate, 1);
}

// --- the password of a client's key ---

// Returns the warnings about sslpassword of a client whose key is `key`.
std::vector<std::string> warnings_of_password(const Site& site, const std::string& key,
                                              const std::string& password) {
  ClientSettings settings = site.client_settings();
  settings.sslcert = site.folder.write("client.crt", site.server.certificate_pem());
  settings.sslkey = site.folder.write("client.key", key);
  settings.sslpassword = password;
  std::vector<std::string> found;
  const auto context = Site::build(settings);
  for (const auto& warning : context->warnings())
    if (warning.setting == "sslpassword") found.push_back(warning.message);
  return found;
}

TEST(PasswordOfAKey, IsWarnedOfIfTheKeyIsNotEncrypted) {
  const Site site;
  const std::vector<std::string> expected{"has no effect: private key file \"" +
                                          site.folder.path("client.key") + "\" is not encrypted"};
  EXPECT_EQ(warnings_of_password(site, site.server.key_pem(), "sesame"), expected);
  EXPECT_EQ(warnings_of_password(site, site.server.key_der(), "sesame"), expected);
}

TEST(PasswordOfAKey, IsNotWarnedOfIfTheKeyNeedsIt) {
  const Site site;
  EXPECT_TRUE(warnings_of_password(site, site.server.key_pem("sesame"), "sesame").empty());
  EXPECT_TRUE(warnings_of_password(site, site.server.key_pem(), "").empty());
}

}  // namespace
}  // namespace pgveil::tls::test
