#include "proxy/snapshot/snapshot.h"

#include <utility>

#include "proxy/config/given_names.h"
#include "proxy/config/values.h"
#include "proxy/snapshot/effects.h"
#include "tls/digest.h"

namespace pgveil::proxy {
namespace {

class SnapshotBuilder {
 public:
  explicit SnapshotBuilder(const ParsedConfig& parsed) : parsed_(parsed) {
    snapshot_->limits = parsed.config.limits;
    snapshot_->log = parsed.config.log;
  }

  [[nodiscard]] tl::expected<std::shared_ptr<const Snapshot>, Mistakes> build() {
    check_records();
    for (const auto& [name, config] : parsed_.config.upstreams) add_upstream(name, config);
    for (std::size_t i = 0; i < parsed_.config.listeners.size(); ++i) add_listener(i);
    if (snapshot_->listeners.size() == parsed_.config.listeners.size()) check_with_all_rules();
    name_as_given(mistakes_);
    name_as_given(snapshot_->warnings);
    sort_by_place(mistakes_);
    sort_by_place(snapshot_->warnings);
    if (!mistakes_.empty()) return tl::unexpected(std::move(mistakes_));
    return snapshot_;
  }

 private:
  void check_with_all_rules() {
    for (const auto& [name, config] : parsed_.config.upstreams)
      refuse_unused_credentials(config, "upstream." + name);
    check_effects(*snapshot_, parsed_, mistakes_, snapshot_->warnings);
  }

  void check_records() {
    const auto wanted = parsed_.config.limits.tls_records;
    const auto choice = tls::choose_records(wanted);
    if (wanted == tls::Records::own && !choice.own)
      complain("limits.tls_records", "\"own\" is not possible: " + choice.because,
               "Set it to \"auto\" or \"openssl\".");
  }

  void add_listener(std::size_t index) {
    const ListenerConfig& config = parsed_.config.listeners[index];
    const std::string key = "listener[" + std::to_string(index) + ']';
    std::shared_ptr<const tls::ServerContext> context;
    if (config.tls_policy() != ListenerTls::off && !config.tls.certificates.empty()) {
      if (auto built = tls::ServerContext::build(config.tls)) {
        context = *std::move(built);
        for (const auto& warning : context->warnings()) snapshot_->warnings.push_back(placed(warning, key));
      } else {
        for (const auto& mistake : built.error()) mistakes_.push_back(placed(mistake, key));
      }
    }
    warn_of_fallback(config, key);
    auto rules = AccessRules::build(config, key, parsed_.origins, snapshot_->warnings);
    if (!rules) {
      for (auto& mistake : rules.error()) mistakes_.push_back(std::move(mistake));
      return;
    }
    warn_of_channel_binding(config, key, *rules);
    warn_of_unbound_logins(context.get(), key, *rules);
    auto users = load_users(config, key, *rules);
    snapshot_->listeners.push_back(
        {config, upstream_of(config, key), std::move(context), *std::move(rules), std::move(users)});
  }

  // Null, with a mistake, if there is none: a configuration that has mistakes is loaded, too, so that all are shown.
  [[nodiscard]] std::shared_ptr<const Upstream> upstream_of(const ListenerConfig& config,
                                                            const std::string& key) {
    const auto found = snapshot_->upstreams.find(config.upstream);
    if (found != snapshot_->upstreams.end()) return found->second;
    complain(key + ".upstream", "there is no upstream " + values::in_quotes(config.upstream),
             "Name an [upstream.NAME] of this configuration.");
    return nullptr;
  }

  [[nodiscard]] AuthUsers load_users(const ListenerConfig& config, const std::string& key,
                                     const AccessRules& rules) {
    if (config.auth_file.empty()) return {};
    const std::string file_key = key + ".auth_file";
    if (!rules.uses(protocol::HbaMethod::scram_sha_256))
      complain(file_key, "has no effect: no rule of this listener has method scram-sha-256",
               "Remove it, or write such a rule.");
    auto users = AuthUsers::load(config.auth_file, file_key, parsed_.origins, snapshot_->warnings);
    if (users) return *std::move(users);
    for (auto& mistake : users.error()) mistakes_.push_back(std::move(mistake));
    return {};
  }

  void add_upstream(const std::string& name, const UpstreamConfig& config) {
    Upstream upstream{config, nullptr, {}};
    tls::wipe(upstream.config.tls.sslpassword);
    const std::string key = "upstream." + name;
    if (config.uses_tls()) {
      if (auto context = tls::ClientContext::build(config.tls)) {
        upstream.tls = *std::move(context);
        for (const auto& warning : upstream.tls->warnings())
          snapshot_->warnings.push_back(placed(warning, key));
      } else {
        for (const auto& mistake : context.error()) mistakes_.push_back(placed(mistake, key));
      }
    }
    if (auto held =
            HeldCredentials::load(config, upstream.tls.get(), key, parsed_.origins, snapshot_->warnings)) {
      upstream.held = *std::move(held);
    } else {
      for (auto& mistake : held.error()) mistakes_.push_back(std::move(mistake));
    }
    snapshot_->upstreams.emplace(name, std::make_shared<const Upstream>(std::move(upstream)));
  }

  // What is held is for clients that pgveil vouches for.
  void refuse_unused_credentials(const UpstreamConfig& config, const std::string& key) {
    for (const auto& listener : snapshot_->listeners)
      if (listener.config.upstream == config.name && listener.rules.vouches()) return;
    for (const auto& [setting, is_set] : {std::pair{"passfile", !config.passfile.empty()},
                                          std::pair{"password_command", !config.password_command.empty()},
                                          std::pair{"role_certificates", !config.role_certificates.empty()}})
      if (is_set)
        complain(key + '.' + setting,
                 "has no effect: no rule of a listener that leads here has method cert, peer or trust",
                 "Remove it, or write such a rule.");
  }

  // fe-connect.c: with sslmode=prefer, libpq's default, every error of a login over TLS leads to another
  // attempt in plaintext.
  void warn_of_fallback(const ListenerConfig& config, const std::string& key) {
    if (config.tls_policy() == ListenerTls::optional)
      warn(key + ".tls",
           "with \"optional\", clients with libpq's default sslmode=prefer fall back to plaintext without a "
           "word "
           "whenever a login over TLS fails",
           "Use tls = \"require\" as soon as all clients can do TLS.");
  }

  // The server would refuse what a client bound to our certificate.
  void warn_of_channel_binding(const ListenerConfig& config, const std::string& key,
                               const AccessRules& rules) {
    const auto upstream = parsed_.config.upstreams.find(config.upstream);
    if (upstream == parsed_.config.upstreams.end() || !upstream->second.uses_tls()) return;
    if (config.tls_policy() == ListenerTls::off || config.shared_certificate) return;
    if (!rules.uses(protocol::HbaMethod::relay)) return;
    warn(key + ".upstream",
         "TLS ends here and begins anew to upstream \"" + config.upstream +
             "\": with method relay, clients cannot log in by SCRAM unless they set channel_binding=disable",
         "Use method scram-sha-256 or cert, reach the server by a Unix socket, or give both ends the same "
         "certificate and set shared_certificate = true.");
  }

  // RFC 5929 leaves tls-server-end-point undefined for them, and PostgreSQL's libpq fails.
  void warn_of_unbound_logins(const tls::ServerContext* context, const std::string& key,
                              const AccessRules& rules) {
    if (context == nullptr || context->binds_channels()) return;
    if (!rules.uses(protocol::HbaMethod::scram_sha_256)) return;
    warn(key + ".ssl_cert_file",
         "a certificate of this listener is signed with an algorithm without a digest of its own (Ed25519, "
         "Ed448): "
         "logins by scram-sha-256 cannot be bound to the TLS connection, and clients with "
         "channel_binding=require "
         "fail",
         "Use a certificate that is signed with ECDSA or RSA.");
  }

  [[nodiscard]] Mistake placed(const tls::SettingMistake& mistake, const std::string& section) const {
    std::string key = section + '.';
    // The certificate of the listener itself is the first one, if it has any.
    if (mistake.certificate >= 0) {
      const auto& origins = parsed_.origins;
      const bool has_default =
          origins.knows(section + ".ssl_cert_file") || origins.knows(section + ".ssl_key_file");
      const int first = has_default ? 1 : 0;
      if (mistake.certificate >= first)
        key += "certificate[" + std::to_string(mistake.certificate - first) + "].";
    }
    key += mistake.setting;
    const auto place = parsed_.origins.find(key);
    return {place.file, place.line, key, mistake.problem, mistake.remedy};
  }

  void complain(const std::string& key, std::string problem, std::string remedy) {
    const auto place = parsed_.origins.find(key);
    mistakes_.push_back({place.file, place.line, key, std::move(problem), std::move(remedy)});
  }

  void warn(const std::string& key, std::string problem, std::string remedy) {
    const auto place = parsed_.origins.find(key);
    snapshot_->warnings.push_back({place.file, place.line, key, std::move(problem), std::move(remedy)});
  }

  const ParsedConfig& parsed_;
  std::shared_ptr<Snapshot> snapshot_ = std::make_shared<Snapshot>();
  Mistakes mistakes_;
};

}  // namespace

tl::expected<std::shared_ptr<const Snapshot>, Mistakes> build_snapshot(const ParsedConfig& parsed) {
  return SnapshotBuilder(parsed).build();
}

}  // namespace pgveil::proxy
