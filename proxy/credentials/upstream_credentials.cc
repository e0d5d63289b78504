#include "proxy/credentials/upstream_credentials.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "protocol/auth_file.h"
#include "proxy/config/config_error.h"
#include "proxy/credentials/secret_file.h"
#include "tls/file_hint.h"

namespace pgveil::proxy {
namespace {

namespace filesystem = std::filesystem;

using protocol::in_quotes;

// DEFAULT_PGSOCKET_DIR as Debian and most others set it. libpq looks for "localhost" in its place
// (fe-connect.c: pqConnectOptions2).
constexpr std::string_view kDefaultSocketDirectory = "/var/run/postgresql";

std::string_view host_in_passfile(const UpstreamHost& host) {
  if (host.host.empty()) return host.hostaddr;
  return host.host == kDefaultSocketDirectory ? "localhost" : std::string_view(host.host);
}

// The roles that have a ROLE.crt in `directory`.
tl::expected<std::vector<std::string>, std::error_code> roles_in(const std::string& directory) {
  std::error_code error;
  std::vector<std::string> roles;
  for (filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error))
    if (entry->path().extension() == ".crt") roles.push_back(entry->path().stem());
  if (error) return tl::unexpected(error);
  std::sort(roles.begin(), roles.end());
  return roles;
}

}  // namespace

tl::expected<UpstreamCredentials, ConfigErrors> UpstreamCredentials::load(const UpstreamConfig& upstream,
                                                                          const tls::ClientContext* base,
                                                                          const std::string& key,
                                                                          const SourceLocations& locations,
                                                                          ConfigErrors& warnings) {
  UpstreamCredentials held;
  ConfigErrors errors;
  if (!upstream.passfile.empty()) {
    const std::string passfile_key = key + ".passfile";
    const auto text = read_secret_file(upstream.passfile, passfile_key, locations);
    if (!text) {
      errors.push_back(text.error());
    } else if (auto passfile = protocol::PassFile::parse(text->view(), upstream.passfile)) {
      held.passfile_ = std::make_shared<const protocol::PassFile>(*std::move(passfile));
    } else {
      errors = config_errors_of(passfile.error(), passfile_key);
    }
  }
  if (!upstream.role_certificates.empty() && base != nullptr) {
    const std::string directory_key = key + ".role_certificates";
    const auto error_at = [&](std::string message, std::string hint) {
      return locations.error_at(directory_key, std::move(message), std::move(hint));
    };
    const auto roles = roles_in(upstream.role_certificates);
    if (!roles)
      errors.push_back(
          error_at("cannot read " + in_quotes(upstream.role_certificates) + ": " + roles.error().message(),
                   roles.error() == std::errc::not_a_directory
                       ? "Name the directory that has ROLE.crt and ROLE.key for each role."
                       : tls::file_hint(upstream.role_certificates, roles.error().value())));
    else if (roles->empty())
      errors.push_back(error_at("there is no certificate in " + in_quotes(upstream.role_certificates),
                                "Put ROLE.crt and ROLE.key there for each role."));
    for (const auto& role : roles.value_or(std::vector<std::string>())) {
      const std::string path = (filesystem::path(upstream.role_certificates) / role).string();
      auto context = base->with_certificate(path + ".crt", path + ".key", upstream.tls.sslpassword);
      if (!context) {
        for (auto& error : context.error())
          errors.push_back(error_at("role " + in_quotes(role) + ": " + error.message, error.hint));
        continue;
      }
      for (const auto& warning : (*context)->warnings())
        warnings.push_back(error_at("role " + in_quotes(role) + ": " + warning.message, warning.hint));
      held.by_role_.emplace(role, *std::move(context));
    }
  }
  if (!errors.empty()) return tl::unexpected(std::move(errors));
  return held;
}

std::shared_ptr<const protocol::SecretText> UpstreamCredentials::password(const UpstreamHost& host,
                                                                          std::string_view database,
                                                                          std::string_view user) const {
  if (!passfile_) return nullptr;
  const std::string port = std::to_string(host.port);
  const auto* password =
      passfile_->find({.host = host_in_passfile(host), .port = port, .database = database, .user = user});
  // Shares the ownership of the whole file.
  return password == nullptr ? nullptr : std::shared_ptr<const protocol::SecretText>(passfile_, password);
}

std::shared_ptr<const tls::ClientContext> UpstreamCredentials::certificate_of(std::string_view role) const {
  const auto found = by_role_.find(role);
  return found == by_role_.end() ? nullptr : found->second;
}

}  // namespace pgveil::proxy
