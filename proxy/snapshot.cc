#include "proxy/snapshot.h"

#include <utility>

namespace pgveil::proxy {
namespace {

class SnapshotBuilder {
 public:
  explicit SnapshotBuilder(const ParsedConfig& parsed) : parsed_(parsed) {
    snapshot_->config = parsed.config;
    wipe_secrets(snapshot_->config);
  }

  [[nodiscard]] tl::expected<std::shared_ptr<const Snapshot>, Mistakes> build() {
    for (std::size_t i = 0; i < parsed_.config.listeners.size(); ++i) add_listener(i);
    for (const auto& [name, config] : parsed_.config.upstreams) add_upstream(name, config);
    if (!mistakes_.empty()) return tl::unexpected(std::move(mistakes_));
    return snapshot_;
  }

 private:
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
    snapshot_->listeners.push_back({config, std::move(context), *std::move(rules)});
  }

  void add_upstream(const std::string& name, const UpstreamConfig& config) {
    Upstream upstream{snapshot_->config.upstreams.at(name), nullptr};
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
    snapshot_->upstreams.emplace(name, std::move(upstream));
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
         "Reach the server by a Unix socket, use certificates (method cert), or give both ends the same "
         "certificate and set shared_certificate = true.");
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
