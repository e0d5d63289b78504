#include "proxy/snapshot/snapshot.h"

#include <algorithm>

#include <atomic>
#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "proxy/config/config_files.h"
#include "proxy/config/values.h"
#include "proxy/snapshot/effects.h"
#include "proxy/snapshot/expiries.h"
#include "proxy/snapshot/limit_effects.h"
#include "tls/digest.h"

namespace pgveil::proxy {
namespace {

class SnapshotBuilder {
 public:
  explicit SnapshotBuilder(const ParsedConfig& parsed) : parsed_(parsed) {
    snapshot_->limits = parsed.config.limits;
    snapshot_->log = parsed.config.log;
    snapshot_->reload = parsed.config.reload;
    snapshot_->audit = parsed.config.audit;
    snapshot_->admin = parsed.config.admin;
    snapshot_->files = digest_files(config_files(parsed));
  }

  [[nodiscard]] tl::expected<std::shared_ptr<const Snapshot>, ConfigReport> build() {
    check_records();
    for (const auto& [name, config] : parsed_.config.upstreams) add_upstream(name, config);
    for (std::size_t i = 0; i < parsed_.config.listeners.size(); ++i) add_listener(i);
    if (snapshot_->listeners.size() == parsed_.config.listeners.size()) check_with_all_rules();
    report_.add_warnings(std::move(warnings_));
    if (report_.has_errors()) return tl::unexpected(std::move(report_));
    snapshot_->warnings = report_.warnings();
    snapshot_->expiries = expiries_of(parsed_.config);
    static std::atomic<std::uint64_t> last_number{0};
    snapshot_->number = ++last_number;
    return snapshot_;
  }

 private:
  void check_with_all_rules() {
    for (const auto& [name, config] : parsed_.config.upstreams)
      refuse_unused_credentials(config, "upstream." + name);
    check_effects(*snapshot_, parsed_, report_);
    check_limit_effects(parsed_, report_);
  }

  void check_records() {
    const auto wanted = parsed_.config.limits.tls_records;
    const auto choice = tls::choose_records(wanted);
    if (wanted == tls::Records::own && !choice.own)
      complain("limits.tls_records", "\"own\" is not possible: " + choice.because,
               "Use \"auto\" or \"openssl\".");
  }

  void add_listener(std::size_t index) {
    const ListenerConfig& config = parsed_.config.listeners[index];
    const std::string key = "listener[" + std::to_string(index) + ']';
    std::shared_ptr<const tls::ServerContext> context;
    if (config.tls_policy() != ListenerTls::off && !config.tls.certificates.empty()) {
      if (auto built = tls::ServerContext::build(config.tls)) {
        context = *std::move(built);
        for (const auto& warning : context->warnings()) warnings_.push_back(located(warning, key));
      } else {
        for (const auto& error : built.error()) report_.add_error(located(error, key));
      }
    }
    warn_of_fallback(config, key);
    auto users = load_users(config, key);
    std::set<std::string> files;
    auto rules = AccessRules::build(config, key, parsed_.locations, warnings_, files);
    report_.add_files(files);
    if (!rules) {
      report_.add_errors(std::move(rules.error()));
      return;
    }
    snapshot_->files.merge(digest_files(files));
    warn_of_channel_binding(config, key, *rules);
    warn_of_unbound_logins(context.get(), key, *rules);
    refuse_unused_users(config, key, *rules);
    refuse_unused_admin_database(config, key, *rules);
    snapshot_->listeners.push_back({config, upstream_of(config, key), std::move(context), *std::move(rules),
                                    std::move(users), admin_database_of(config)});
  }

  // It asks for no password: sessions reach it only for clients whom a rule has let in, and end if these are not in
  // admin_users.
  [[nodiscard]] static std::shared_ptr<const Upstream> admin_database_of(const ListenerConfig& config) {
    if (config.admin_database.empty()) return nullptr;
    UpstreamConfig upstream;
    upstream.name = "(" + config.admin_database + ")";
    upstream.sslmode = SslMode::disable;
    upstream.require_auth = AuthMethods{AuthMethod::none};
    return std::make_shared<const Upstream>(
        Upstream{.config = std::move(upstream), .tls = nullptr, .held = {}});
  }

  void refuse_unused_admin_database(const ListenerConfig& config, const std::string& key,
                                    const AccessRules& rules) {
    if (config.admin_database.empty() || rules.may_admit_to_admin_database()) return;
    complain(
        key + ".admin_database",
        "has no effect: no rule for this database has method cert, peer, scram-sha-256 or trust",
        "Add such a rule for this database and admin_users: with other methods the server authenticates the client, "
        "and here pgveil has to.");
  }

  // Null, with an error, if there is none: a configuration that has errors is loaded, too, so that all are reported.
  [[nodiscard]] std::shared_ptr<const Upstream> upstream_of(const ListenerConfig& config,
                                                            const std::string& key) {
    const auto found = snapshot_->upstreams.find(config.upstream);
    if (found != snapshot_->upstreams.end()) return found->second;
    complain(key + ".upstream", "upstream " + values::in_quotes(config.upstream) + " does not exist",
             "Use the NAME of an [upstream.NAME].");
    return nullptr;
  }

  void refuse_unused_users(const ListenerConfig& config, const std::string& key, const AccessRules& rules) {
    if (!config.auth_file.empty() && !rules.uses(protocol::HbaMethod::scram_sha_256))
      complain(key + ".auth_file", "has no effect: no rule of this listener has method scram-sha-256",
               "Remove it, or add a rule with this method.");
  }

  [[nodiscard]] UserSecrets load_users(const ListenerConfig& config, const std::string& key) {
    if (config.auth_file.empty()) return {};
    auto users = UserSecrets::load(config.auth_file, key + ".auth_file", parsed_.locations, warnings_);
    if (users) return *std::move(users);
    report_.add_errors(std::move(users.error()));
    return {};
  }

  void add_upstream(const std::string& name, const UpstreamConfig& config) {
    Upstream upstream{config, nullptr, {}};
    tls::wipe(upstream.config.tls.sslpassword);
    const std::string key = "upstream." + name;
    if (config.uses_tls()) {
      if (auto context = tls::ClientContext::build(config.tls)) {
        upstream.tls = *std::move(context);
        for (const auto& warning : upstream.tls->warnings()) warnings_.push_back(located(warning, key));
      } else {
        for (const auto& error : context.error()) report_.add_error(located(error, key));
      }
    }
    if (auto held =
            UpstreamCredentials::load(config, upstream.tls.get(), key, parsed_.locations, warnings_)) {
      upstream.held = *std::move(held);
    } else {
      report_.add_errors(std::move(held.error()));
    }
    snapshot_->upstreams.emplace(name, std::make_shared<const Upstream>(std::move(upstream)));
  }

  // These credentials are for logins on behalf of clients.
  void refuse_unused_credentials(const UpstreamConfig& config, const std::string& key) {
    for (const auto& listener : snapshot_->listeners)
      if (listener.config.upstream == config.name && listener.rules.logs_in_for_clients()) return;
    for (const auto& [setting, is_set] : {std::pair{"passfile", !config.passfile.empty()},
                                          std::pair{"password_command", !config.password_command.empty()},
                                          std::pair{"role_certificates", !config.role_certificates.empty()}})
      if (is_set)
        complain(key + '.' + setting,
                 "has no effect: no rule of a listener with this upstream has method cert, peer or trust",
                 "Remove it, or add a rule with such a method.");
  }

  // fe-connect.c: with sslmode=prefer, libpq's default, every error of a login over TLS leads to another
  // attempt in plaintext.
  void warn_of_fallback(const ListenerConfig& config, const std::string& key) {
    if (config.tls_policy() == ListenerTls::optional)
      warn(
          key + ".tls",
          "with \"optional\", clients with libpq's default sslmode=prefer silently use plaintext whenever a login "
          "over TLS fails",
          "Use tls = \"require\" as soon as all clients use TLS.");
  }

  // The server would refuse what a client bound to our certificate.
  void warn_of_channel_binding(const ListenerConfig& config, const std::string& key,
                               const AccessRules& rules) {
    const auto upstream = parsed_.config.upstreams.find(config.upstream);
    if (upstream == parsed_.config.upstreams.end() || !upstream->second.uses_tls()) return;
    if (config.tls_policy() == ListenerTls::off || config.shared_certificate) return;
    if (!rules.uses_for_server(protocol::HbaMethod::relay)) return;
    warn(
        key + ".upstream",
        "with method relay, clients cannot log in by SCRAM unless they set channel_binding=disable, since pgveil "
        "uses another TLS connection to upstream " +
            values::in_quotes(config.upstream),
        "Use method scram-sha-256 or cert, connect to the server by a Unix socket, or use the certificate of the "
        "server for this listener and set shared_certificate = true.");
  }

  // RFC 5929 leaves tls-server-end-point undefined for them, and PostgreSQL's libpq fails.
  void warn_of_unbound_logins(const tls::ServerContext* context, const std::string& key,
                              const AccessRules& rules) {
    if (context == nullptr || context->binds_channels()) return;
    if (!rules.uses(protocol::HbaMethod::scram_sha_256)) return;
    warn(
        key + ".ssl_cert_file",
        "a certificate with an Ed25519 or Ed448 signature does not support channel binding, so that logins by "
        "scram-sha-256 with channel_binding=require fail",
        "Use a certificate that is signed with ECDSA or RSA.");
  }

  // The one place where an error of tls/, which knows nothing of files and sections, becomes a ConfigError.
  [[nodiscard]] ConfigError located(const tls::SettingError& error, const std::string& section) const {
    std::string key = section + '.';
    // The certificate of the listener itself is the first one, if it has any.
    if (error.certificate >= 0) {
      const auto& locations = parsed_.locations;
      const bool has_default =
          locations.knows(section + ".ssl_cert_file") || locations.knows(section + ".ssl_key_file");
      const int first = has_default ? 1 : 0;
      if (error.certificate >= first)
        key += "certificate[" + std::to_string(error.certificate - first) + "].";
    }
    key += error.setting;
    return parsed_.locations.error_at(key, error.message, error.hint);
  }

  void complain(const std::string& key, std::string message, std::string hint) {
    report_.add_error(parsed_.locations.error_at(key, std::move(message), std::move(hint)));
  }

  void warn(const std::string& key, std::string message, std::string hint) {
    report_.add_warning(parsed_.locations.error_at(key, std::move(message), std::move(hint)));
  }

  const ParsedConfig& parsed_;
  std::shared_ptr<Snapshot> snapshot_ = std::make_shared<Snapshot>();
  ConfigReport report_;
  ConfigErrors warnings_;  // of what is loaded
};

}  // namespace

tl::expected<std::shared_ptr<const Snapshot>, ConfigReport> build_snapshot(const ParsedConfig& parsed) {
  return SnapshotBuilder(parsed).build();
}

bool has_admin_database(const Snapshot& snapshot) {
  return std::ranges::any_of(
      snapshot.listeners, [](const ListenerPolicy& listener) { return listener.admin_database != nullptr; });
}

std::vector<std::shared_ptr<const Upstream>> used_upstreams(const Snapshot& snapshot) {
  std::vector<std::shared_ptr<const Upstream>> used;
  for (const auto& [name, upstream] : snapshot.upstreams)
    if (std::ranges::any_of(snapshot.listeners, [&upstream = upstream](const ListenerPolicy& listener) {
          return listener.upstream == upstream;
        }))
      used.push_back(upstream);
  return used;
}

}  // namespace pgveil::proxy
