#include "proxy/snapshot/effects.h"

#include <pwd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <set>
#include <utility>

#include "proxy/base/cpu_quota.h"
#include "proxy/config/number_values.h"
#include "proxy/config/values.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {
namespace {

using protocol::ChannelBinding;
using protocol::ClientCertificate;
using protocol::HbaMethod;
using protocol::HbaRule;
using values::in_quotes;

// Whether the clients of this listener may have other addresses than its own suggests: those in PROXY headers.
bool has_proxies(const ListenerConfig& listener) {
  return !listener.proxy_protocol_from.is_empty();
}

// Whether clients of this listener can match a rule, by its type: of any kind, or with the TLS that the
// listener has.
bool can_match_by_family(const HbaRule& rule, const ListenerConfig& listener) {
  if (rule.is_local) return listener.address.is_unix();
  return !rule.matches_nobody && (!listener.address.is_unix() || has_proxies(listener));
}
bool can_match(const HbaRule& rule, const ListenerConfig& listener) {
  if (!can_match_by_family(rule, listener)) return false;
  if (rule.is_local) return true;
  const auto tls = listener.tls_policy();
  return !(rule.only_tls && tls == ListenerTls::off) && !(rule.only_plaintext && tls == ListenerTls::require);
}

// Whether the address of a rule can be that of a client of a listener on a TCP address. A client of a loopback address has
// such an address itself, and a client of another address has none.
bool can_match_by_address(const HbaRule& rule, const SocketAddress& listener) {
  const std::string& host = listener.host;
  const bool is_ipv6 = host.find(':') != std::string::npos;
  if (is_ipv6 && host.find('.') != std::string::npos) return true;  // ::ffff:192.0.2.1
  if (is_ipv6 ? rule.only_ipv4 : rule.only_ipv6) return false;
  if (listener.is_loopback()) return !rule.no_loopback;
  return host == "0.0.0.0" || host == "::" || !rule.only_loopback;
}
bool can_admit(const HbaRule& rule, const ListenerConfig& listener) {
  return rule.method != HbaMethod::reject && can_match(rule, listener);
}
bool can_admit_by_address(const HbaRule& rule, const ListenerConfig& listener) {
  if (!can_admit(rule, listener)) return false;
  if (listener.address.is_unix() || has_proxies(listener)) return true;
  const auto addresses = listener.address.each();
  return std::any_of(addresses.begin(), addresses.end(),
                     [&](const SocketAddress& each) { return can_match_by_address(rule, each); });
}

// What the server may ask for if a login by this method is to succeed.
AuthMethods methods_that_succeed(HbaMethod method, const UpstreamConfig& upstream) {
  AuthMethods methods{AuthMethod::password, AuthMethod::md5, AuthMethod::scram_sha_256, AuthMethod::none};
  if (method == HbaMethod::relay) return AuthMethods::all();
  if (method == HbaMethod::scram_sha_256) methods = {AuthMethod::scram_sha_256, AuthMethod::none};
  if (method == HbaMethod::password) methods.remove(AuthMethod::none);
  if (logs_in_for_client(method) && !upstream.holds_passwords()) methods = {AuthMethod::none};
  if (upstream.channel_binding == ChannelBinding::require)
    for (const auto unbound : {AuthMethod::password, AuthMethod::md5, AuthMethod::none})
      methods.remove(unbound);
  return methods;
}

bool have_common(const AuthMethods& one, const AuthMethods& other) {
  for (const auto method : {AuthMethod::password, AuthMethod::md5, AuthMethod::gss, AuthMethod::sspi,
                            AuthMethod::scram_sha_256, AuthMethod::oauth, AuthMethod::none})
    if (one.has(method) && other.has(method)) return true;
  return false;
}

class EffectCheck {
 public:
  EffectCheck(const Snapshot& snapshot, const ParsedConfig& parsed, ConfigReport& report)
      : snapshot_(snapshot), config_(parsed.config), locations_(parsed.locations), report_(report) {}

  void check() const {
    for (std::size_t place = 0; place < snapshot_.listeners.size(); ++place)
      check_listener(snapshot_.listeners[place], "listener[" + std::to_string(place) + "].");
    for (const auto& [name, upstream] : config_.upstreams) check_upstream(upstream, "upstream." + name + '.');
  }

 private:
  void check_listener(const ListenerPolicy& listener, const std::string& key) const {
    const auto& rules = listener.rules;
    const std::string no_rule = listener.config.admin_database.empty()
                                    ? "no rule of this listener has method "
                                    : "no rule for other databases than admin_database has method ";
    if (!rules.logs_in_for_clients())
      refuse_without_effect(key + "allowed_startup_parameters", no_rule + "cert, peer or trust");
    if (!rules.uses_for_server(HbaMethod::relay))
      for (const char* setting : {"sasl_mechanisms", "shared_certificate"})
        refuse_without_effect(key + setting, no_rule + "relay");
    else if (listener.config.sasl_mechanisms == SaslMechanisms::verbatim && listener.upstream &&
             !listener.upstream->config.uses_tls())
      refuse_without_effect(key + "sasl_mechanisms",
                            "a server without TLS offers no SCRAM-SHA-256-PLUS, and upstream " +
                                in_quotes(listener.config.upstream) + " does not use TLS");
    check_proxies(listener.config, key);
    check_maps(rules, key);
    check_types(listener, key);
    if (can_match_addresses(listener))
      check_families(listener, key);
    else
      warn(rules_of(key),
           "no rule matches the addresses of the clients of this listener, so that no client can log in",
           "Write the networks of the clients, or all for every address.");
    check_client_certificates(listener, key);
  }

  void check_proxies(const ListenerConfig& listener, const std::string& key) const {
    for (const auto& network : listener.proxy_protocol_from.networks)
      if (network.prefix_bits == 0)
        warn(key + "proxy_protocol_from",
             network.text() + " trusts every client, which can then claim any address",
             "Write the addresses of the proxies.");
  }

  void check_maps(const AccessRules& rules, const std::string& key) const {
    std::set<std::string> used;
    for (const auto* rule : rules.rules())
      if (!rule->map.empty()) used.insert(rule->map);
    if (used.empty())
      for (const char* setting : {"ident", "ident_file"})
        refuse_without_effect(key + setting, "no rule of this listener has the option map");
    else
      for (const auto& map : rules.ident().maps())
        if (!used.contains(map))
          warn(locations_.knows(key + "ident") ? key + "ident" : key + "ident_file",
               "no rule uses map " + in_quotes(map),
               "Add map=" + map + " to a rule, or remove the lines of this map.");
  }

  void check_types(const ListenerPolicy& listener, const std::string& key) const {
    const auto rules = listener.rules.rules();
    const auto some = [&](const auto& matches) {
      return std::any_of(rules.begin(), rules.end(),
                         [&](const HbaRule* rule) { return matches(*rule, listener.config); });
    };
    if (some(can_match)) return;
    const bool has_tls = listener.config.tls_policy() != ListenerTls::off;
    const std::string type = listener.config.address.is_unix() ? "local" : has_tls ? "hostssl" : "host";
    const std::string message = "no rule matches the clients of this listener, so that no client can log in";
    const std::string hint = "Write a rule of type " + type + '.';
    // A file of rules may be for other listeners, too; but these rules are for clients with TLS, or without.
    if (some(can_match_by_family))
      complain(rules_of(key), message, hint);
    else
      warn(rules_of(key), message, hint);
  }

  // Returns false if the rules that could let somebody in are all for other addresses.
  [[nodiscard]] static bool can_match_addresses(const ListenerPolicy& listener) {
    const auto rules = listener.rules.rules();
    const auto some = [&](const auto& admits) {
      return std::any_of(rules.begin(), rules.end(),
                         [&](const HbaRule* rule) { return admits(*rule, listener.config); });
    };
    return !some(can_admit) || some(can_admit_by_address);
  }

  // PostgreSQL's own files have a record for each of the two families.
  void check_families(const ListenerPolicy& listener, const std::string& key) const {
    const auto rules = listener.rules.rules();
    const auto has = [&](bool HbaRule::*every) {
      return std::any_of(rules.begin(), rules.end(), [every](const HbaRule* rule) { return rule->*every; });
    };
    const bool has_ipv4 = has(&HbaRule::every_ipv4);
    if (listener.config.address.is_unix() || has_ipv4 == has(&HbaRule::every_ipv6)) return;
    for (const auto* rule : rules)
      if ((rule->every_ipv4 || rule->every_ipv6) && rule != rules.back())
        warn_of_family(*rule, rules_of(key), has_ipv4);
    const auto* last = rules.back();
    if ((last->every_ipv4 || last->every_ipv6) && last->method != HbaMethod::reject)
      warn_of_family(*last, rules_of(key), has_ipv4);
  }

  void warn_of_family(const HbaRule& rule, const std::string& key, bool is_ipv4) const {
    const std::string_view address = is_ipv4 ? "0.0.0.0/0" : "::/0";
    const std::string other = is_ipv4 ? "IPv6" : "IPv4";
    report_.add_warning({rule.file, rule.line, key,
                         std::string(address) + " matches no client that connects by " + other,
                         "Write the networks of the clients, or all for every address."});
  }

  void check_client_certificates(const ListenerPolicy& listener, const std::string& key) const {
    if (listener.config.tls.ssl_ca_file.empty() || listener.config.log_client_identity) return;
    const auto rules = listener.rules.rules();
    const auto asks = [](const HbaRule* rule) { return rule->clientcert != ClientCertificate::not_required; };
    if (std::none_of(rules.begin(), rules.end(), asks))
      warn(key + "ssl_ca_file", "no rule requires a client certificate",
           "Add clientcert=verify-ca to a hostssl rule, or use method cert.");
  }

  void check_upstream(const UpstreamConfig& upstream, const std::string& key) const {
    std::vector<std::pair<const ListenerPolicy*, const HbaRule*>> rules;
    bool is_used = false;
    for (const auto& listener : snapshot_.listeners) {
      if (listener.config.upstream != upstream.name) continue;
      is_used = true;
      for (const auto* rule : listener.rules.rules())
        if (rule->method != HbaMethod::reject && listener.rules.leads_to_server(*rule))
          rules.emplace_back(&listener, rule);
    }
    if (!is_used)
      return warn("upstream." + upstream.name, "no listener uses this upstream",
                  "Set upstream of a listener to its name, or remove it.");
    const auto is_completed = [](const auto& rule) { return rule.second->method != HbaMethod::relay; };
    if (std::none_of(rules.begin(), rules.end(), is_completed))
      refuse_without_effect(key + "channel_binding",
                            "all rules that lead to this upstream have method relay");
    check_logins(upstream, key, rules);
    check_peer(upstream, key);
    check_preconnect(upstream, key);
    check_timeout(key, "password_command_timeout", upstream.password_command_timeout);
    check_timeout(key, "connect_timeout", upstream.connect_timeout);
  }

  void check_timeout(const std::string& key, const std::string& setting,
                     std::chrono::milliseconds value) const {
    const auto startup_timeout = config_.limits.startup_timeout;
    if (locations_.knows(key + setting) && value >= startup_timeout)
      warn(key + setting,
           "is not shorter than startup_timeout, " + in_quotes(values::show_duration(startup_timeout)) +
               ", which ends the login first",
           "Raise startup_timeout, or lower " + setting + ".");
  }

  template <class Rules>
  void check_logins(const UpstreamConfig& upstream, const std::string& key, const Rules& rules) const {
    std::set<HbaMethod> seen;
    for (const auto& [listener, rule] : rules) {
      const auto method = rule->method;
      const bool is_first = seen.insert(method).second;
      const auto needed = methods_that_succeed(method, upstream);
      const bool needs_binding =
          method != HbaMethod::relay && upstream.channel_binding == ChannelBinding::require;
      const bool is_known = locations_.knows(key + "require_auth");
      if (!is_first || (needs_binding ? false : !is_known)) continue;
      const auto allowed = upstream.require_auth.value_or(AuthMethods::all());
      if (have_common(allowed, needed)) continue;
      const std::string where = "by the rule in " + rule->file + ':' + std::to_string(rule->line) +
                                ", method " + std::string(protocol::name_of(method));
      if (needed == AuthMethods{})
        complain(
            key + "channel_binding",
            "no login can succeed " + where + ": channel binding requires a password, and pgveil has none",
            "Set passfile or password_command, or remove channel_binding.");
      else
        complain(key + "require_auth",
                 "no login can succeed " + where + ", which requires one of " + needed.text(),
                 "Add one of these to require_auth, or change the method of the rule.");
    }
  }

  void check_peer(const UpstreamConfig& upstream, const std::string& key) const {
    if (upstream.requirepeer.empty()) return;
    errno = 0;
    // A directory service that does not answer says nothing about the user.
    if (::getpwnam(upstream.requirepeer.c_str()) == nullptr && (errno == 0 || errno == ENOENT))
      warn(key + "requirepeer", "user " + in_quotes(upstream.requirepeer) + " does not exist on this system",
           "Set it to the user that runs the server.");
  }

  void check_preconnect(const UpstreamConfig& upstream, const std::string& key) const {
    const unsigned wanted = config_.limits.workers;
    const unsigned workers = wanted > 0 ? wanted : granted_cpus().count();
    if (upstream.preconnect > 0 && upstream.preconnect < workers)
      warn(key + "preconnect",
           std::to_string(upstream.preconnect) + " is less than the number of workers, " +
               std::to_string(workers) + ", so that sessions of some workers have to connect themselves",
           "Set it to " + std::to_string(workers) + " or more, or lower workers.");
  }

  // The setting of the rules; neither is set for built-in ones.
  [[nodiscard]] std::string rules_of(const std::string& key) const {
    return locations_.knows(key + "hba_file") ? key + "hba_file" : key + "hba";
  }

  void refuse_without_effect(const std::string& key, const std::string& why) const {
    if (locations_.knows(key)) complain(key, "has no effect: " + why, "Remove it.");
  }
  void complain(const std::string& key, std::string message, std::string hint) const {
    report_.add_error(locations_.error_at(key, std::move(message), std::move(hint)));
  }
  void warn(const std::string& key, std::string message, std::string hint) const {
    report_.add_warning(locations_.error_at(key, std::move(message), std::move(hint)));
  }

  const Snapshot& snapshot_;
  const Config& config_;
  const SourceLocations& locations_;
  ConfigReport& report_;
};

}  // namespace

void check_effects(const Snapshot& snapshot, const ParsedConfig& parsed, ConfigReport& report) {
  EffectCheck(snapshot, parsed, report).check();
}

}  // namespace pgveil::proxy
