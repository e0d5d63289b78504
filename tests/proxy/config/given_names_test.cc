// The names of settings in messages: as the user gave them.
#include "proxy/config/given_names.h"

#include <gtest/gtest.h>

namespace pgveil::proxy {
namespace {

std::string text_of(const std::string& file, const std::string& key, const std::string& message,
                    const std::string& hint) {
  ConfigErrors errors{{file, 0, key, message, hint}};
  name_as_given(errors);
  return errors[0].text();
}

TEST(GivenNames, AreOptionsInAnErrorOfAnOption) {
  EXPECT_EQ(
      text_of("--ssl-ciphers", "listener[0].ssl_ciphers", "is too new", "Raise ssl_max_protocol_version."),
      "--ssl-ciphers: is too new. Raise --listener-ssl-max-protocol-version.");
  EXPECT_EQ(text_of("--sslkey", "upstream.default.sslkey", "is encrypted, and no sslpassword is set",
                    "Set sslpassword"),
            "--sslkey: is encrypted, and no PGVEIL_SSLPASSWORD is set. Set PGVEIL_SSLPASSWORD");
}

TEST(GivenNames, AreVariablesInAnErrorOfAVariable) {
  EXPECT_EQ(text_of("PGVEIL_SSLCERT", "upstream.default.sslcert", "sslcert and sslkey go together", ""),
            "PGVEIL_SSLCERT: PGVEIL_SSLCERT and PGVEIL_SSLKEY go together.");
}

TEST(GivenNames, AreKeysInAnErrorOfAFile) {
  ConfigErrors errors{{"pgveil.toml", 3, "upstream.a.sslcert", "sslcert and sslkey go together", ""}};
  name_as_given(errors);
  EXPECT_EQ(errors[0].text(), "pgveil.toml:3: upstream.a.sslcert: sslcert and sslkey go together.");
}

TEST(GivenNames, LeaveOtherWordsAlone) {
  for (const std::string text :
       {"the file \"ssl_key_file\" and the path /etc/ssl_key_file", "the options of the database",
        "--ssl_key_file and ssl_key_files", "in application_name"})
    EXPECT_EQ(text_of("--ssl-key-file", "listener[0].ssl_key_file", text, ""),
              "--ssl-key-file: " + text + ".");
}

}  // namespace
}  // namespace pgveil::proxy
