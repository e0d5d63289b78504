#include "proxy/config/config_files.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tests/proxy/config/setting_samples.h"
#include "tls/system_trust.h"

namespace pgveil::proxy {
namespace {

std::set<std::string> files_of(const std::string& toml) {
  const auto parsed = parse_config(toml, "pgveil.toml");
  if (!parsed) ADD_FAILURE() << parsed.error().front().text();
  return parsed ? config_files(*parsed) : std::set<std::string>{};
}

// A setting that is added to the table of settings as a path is watched, too.
TEST(ConfigFiles, AreThoseOfEverySettingOfAListenerOrAnUpstreamThatIsAPath) {
  int count = 0;
  for (const auto& sample : setting_samples()) {
    if (sample.section != "listener" && sample.section != "upstream") continue;
    if (!sample.outside.starts_with('/') || sample.key == "host" || sample.key == "address") continue;
    ParsedConfig parsed;
    parsed.config.listeners.resize(1);
    auto& upstream = parsed.config.upstreams["primary"];
    const values::RawValue raw{values::RawValue::Kind::untyped, sample.outside};
    UpstreamSection section;
    for (const auto& setting : listener_settings()) {
      if (sample.section != "listener" || setting.key != sample.key) continue;
      EXPECT_FALSE(setting.set(raw, parsed.config.listeners[0]));
    }
    for (const auto& setting : upstream_settings()) {
      if (sample.section != "upstream" || setting.key != sample.key) continue;
      EXPECT_FALSE(setting.set(raw, section));
    }
    upstream = section.config;
    EXPECT_TRUE(config_files(parsed).contains(sample.outside)) << sample.section << '.' << sample.key;
    ++count;
  }
  EXPECT_GE(count, 14);
}

TEST(ConfigFiles, IncludeTheConfigurationAndCertificatesForNames) {
  const auto files = files_of(
      "[[listener]]\naddress = \"127.0.0.1:0\"\nupstream = \"a\"\nssl_cert_file = \"/s.crt\"\nssl_key_file = \"/s.key\"\n"
      "[[listener.certificate]]\nserver_names = \"db.example.com\"\nssl_cert_file = \"/n.crt\"\nssl_key_file = "
      "\"/n.key\"\n"
      "[upstream.a]\nhost = \"/run\"\n");
  EXPECT_EQ(files, (std::set<std::string>{"pgveil.toml", "/s.crt", "/s.key", "/n.crt", "/n.key"}));
}

TEST(ConfigFiles, AreTheFilesOfTheSystemForItsAuthorities) {
  auto files = files_of(
      "[[listener]]\naddress = \"127.0.0.1:0\"\nupstream = \"a\"\n"
      "[upstream.a]\nhost = \"db\"\nsslrootcert = \"system\"\n");
  EXPECT_FALSE(files.contains("system"));
  for (const auto& path : tls::system_trust_paths()) EXPECT_TRUE(files.contains(path)) << path;
}

}  // namespace
}  // namespace pgveil::proxy
