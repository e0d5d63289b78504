#include "proxy/access/identity.h"

#include <strings.h>

#include <cctype>
#include <string_view>
#include <utility>

namespace pgveil::proxy {
namespace {

constexpr const char* kApplicationName = "application_name";
constexpr const char* kClientDn = "pgveil.client_dn";
constexpr const char* kSystemUser = "pgveil.system_user";

// Removes a setting of the server's, whose names have no case, and returns the value that would have counted:
// the last.
std::string take_setting(protocol::StartupMessage& startup, const char* setting) {
  std::string value;
  std::erase_if(startup.parameters, [&](const auto& parameter) {
    if (strcasecmp(parameter.first.c_str(), setting) != 0) return false;
    value = parameter.second;
    return true;
  });
  return value;
}

std::string with_identity(std::string_view name, std::string_view identity) {
  const std::string suffix = " [" + std::string(identity) + ']';
  if (name.empty() || suffix.size() >= protocol::kMaxNameBytes) return std::string(identity);
  return std::string(name.substr(0, protocol::kMaxNameBytes - suffix.size())) + suffix;
}

// As a word of `options`, which the server splits at blanks (pg_split_opts()).
std::string as_option_word(std::string_view text) {
  std::string word;
  for (const char character : text) {
    if (character == '\\' || std::isspace(static_cast<unsigned char>(character)) != 0) word += '\\';
    word += character;
  }
  return word;
}

}  // namespace

std::vector<std::string> system_users(const tls::PeerCertificate& certificate,
                                      protocol::CertificateName name) {
  using Name = protocol::CertificateName;
  switch (name) {
    case Name::common_name:
      if (!certificate.subject_is_text || certificate.common_names.size() != 1) return {};
      return certificate.common_names;
    case Name::distinguished_name:
      if (!certificate.subject_is_text || certificate.subject.empty()) return {};
      return {certificate.subject};
    case Name::uri: return certificate.uris;
    case Name::dns: return certificate.dns_names;
    case Name::email: return certificate.emails;
    case Name::fingerprint: return {certificate.sha256_fingerprint};
  }
  return {};
}

void announce_identity(protocol::StartupMessage& startup, const ClientIdentity& identity,
                       ClientIdentityIn place) {
  if (place == ClientIdentityIn::application_name) {
    const auto shown = identity.system_user.empty() ? identity.who : identity.system_user;
    if (shown.empty()) return;
    const std::string name = take_setting(startup, kApplicationName);
    startup.set(kApplicationName, with_identity(name, shown));
    return;
  }
  // The last value in `options` counts, but a parameter of the packet comes after all of them (postgres.c:
  // process_startup_options). A setting for which there is no value is set to the empty string, so that the
  // client cannot give it one.
  std::string options(startup.find("options").value_or(""));
  for (const auto& [setting, value] :
       {std::pair{kClientDn, identity.who}, std::pair{kSystemUser, identity.system_user}}) {
    static_cast<void>(take_setting(startup, setting));
    if (!options.empty()) options += ' ';
    options += std::string("-c ") + setting + '=' + as_option_word(value);
  }
  startup.set("options", options);
}

}  // namespace pgveil::proxy
