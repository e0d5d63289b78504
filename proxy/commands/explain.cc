#include "proxy/commands/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/base/exit_code.h"
#include "proxy/commands/host_text.h"
#include "proxy/commands/terminal_table.h"
#include "proxy/config/ip_address.h"
#include "proxy/config/values.h"
#include "proxy/diagnostics/log_text.h"
#include "proxy/login/login_forecast.h"
#include "proxy/session/admission_checks.h"
#include "proxy/session/client_tls_failure.h"
#include "proxy/session/startup_parameters.h"
#include "proxy/upstream/upstream_failure.h"
#include "tls/established.h"
#include "tls/host_name.h"
#include "tls/stored_credentials.h"

namespace pgveil::proxy {
namespace {

using protocol::HbaMethod;
using protocol::HbaMismatch;
using values::in_quotes;

// The certificates of a file, the client's own first.
struct ShownChain {
  tls::PeerChain chain;
  tls::PeerCertificate certificate;
};

std::string addresses_of(const Snapshot& snapshot) {
  std::string text;
  for (const auto& listener : snapshot.listeners)
    text += (text.empty() ? "" : ", ") + listener.config.address.text();
  return text;
}

tl::expected<const ListenerPolicy*, ConfigError> find_listener(const Snapshot& snapshot,
                                                               const std::string& address) {
  if (address.empty() && snapshot.listeners.size() == 1) return &snapshot.listeners.front();
  for (const auto& listener : snapshot.listeners)
    if (listener.config.address.text() == address) return &listener;
  return tl::unexpected(value_error(
      address.empty() ? "there are several listeners" : "there is no listener " + in_quotes(address),
      "Name one of them with --listener: " + addresses_of(snapshot) + "."));
}

// The address of an IPv4 client at an IPv6 socket is that of the client.
std::string_view without_mapping(std::string_view address) {
  constexpr std::string_view kMapped = "::ffff:";
  return address.starts_with(kMapped) && address.find('.') != std::string_view::npos
             ? address.substr(kMapped.size())
             : address;
}

tl::expected<KernelAddress, ConfigError> client_address(const ExplainQuery& query,
                                                        const ListenerConfig& listener) {
  if (!listener.address.is_unix() && !query.unix_user.empty())
    return tl::unexpected(value_error("only clients of a Unix socket have a user of the operating system",
                                      "Leave --os-user out."));
  if (listener.address.is_unix() && query.client.empty()) return unnamed_unix_address();
  if (listener.address.is_unix() && listener.proxy_protocol_from.is_empty())
    return tl::unexpected(value_error("clients of a Unix socket have no address", "Leave --client out."));
  const std::string text = query.client.empty() ? "127.0.0.1" : std::string(without_mapping(query.client));
  const auto address = protocol::parse_ip_address(text);
  if (!address)
    return tl::unexpected(
        value_error(in_quotes(text) + " is not an IP address",
                    "Give the client's address without a port, such as 10.1.2.3 or fd00::7."));
  return kernel_address(*address, 0);
}

tl::expected<ShownChain, ConfigError> read_chain(const std::string& file) {
  auto stored = tls::read_stored_file(file);
  if (!stored)
    return tl::unexpected(value_error(std::move(stored.error().message), std::move(stored.error().hint)));
  if (stored->certificates.empty())
    return tl::unexpected(
        value_error(in_quotes(file) + " has no certificate", "Give the file of the client's sslcert."));
  ShownChain shown{.chain = {}, .certificate = stored->certificates.front().values};
  for (auto& certificate : stored->certificates) shown.chain.push_back(std::move(certificate.der));
  return shown;
}

std::string_view words_of(HbaMismatch mismatch) {
  switch (mismatch) {
    case HbaMismatch::none: return "matches";
    case HbaMismatch::type: return "does not match: its type is for other connections";
    case HbaMismatch::database: return "does not match: the database";
    case HbaMismatch::user: return "does not match: the user";
    case HbaMismatch::address: return "does not match: the address";
    case HbaMismatch::host_name_unknown: return "may match: the host name of the client is not known";
  }
  return "?";
}

// The position and the text of a record.
std::string record_of(const protocol::HbaRule& rule) {
  return fmt::format("{}:{} ({})", rule.file, rule.line, rule.text);
}

std::string brief_tls_of(const UpstreamConfig& upstream) {
  return upstream.uses_tls() ? "with TLS, verify-full" : "without TLS";
}

// An address is never sent as a server name, and libpq sends no name for it.
std::optional<ConfigError> check_server_name(const std::string& name) {
  if (name.empty() || tls::is_sent_as_sni(name)) return std::nullopt;
  return value_error(
      in_quotes(name) + " is never a server name (SNI)",
      "Give a host name without a port. Leave --sni out for clients that connect to an address.");
}

// Decides about one client, step by step as a session does, and writes down each step.
class Explainer {
 public:
  Explainer(const ListenerPolicy& policy, const ExplainQuery& query, const KernelAddress& address,
            const ShownChain* shown)
      : policy_(policy), query_(query), address_(address), shown_(shown) {}

  [[nodiscard]] tl::expected<Explanation, ConfigError> explain() {
    const auto refusal = decide();
    if (needs_host_name_)
      return tl::unexpected(value_error("a rule asks for the host name of the client",
                                        "Give it with --client-name; empty if the address has no name."));
    if (refusal) add_refusal(*refusal);
    return Explanation{.is_admitted = !refusal, .text = std::move(text_)};
  }

 private:
  [[nodiscard]] bool has_tls() const {
    return query_.has_tls || shown_ != nullptr || !query_.server_name.empty();
  }

  [[nodiscard]] std::optional<Ending> decide() {
    const ListenerConfig& listener = policy_.config;
    add("listener", listener.address.text() + ", to upstream " + listener.upstream);
    add("client", fmt::format("{}, {}", host_of(address_), has_tls() ? "with TLS" : "without TLS"));
    if (has_tls())
      if (auto refusal = shake_hands()) return refusal;
    protocol::StartupMessage startup;
    if (!query_.user.empty()) startup.set("user", query_.user);
    if (query_.database) startup.set("database", *query_.database);
    if (query_.replication) startup.set("replication", "true");
    if (auto refusal = check_startup(startup)) return refusal;
    set_database(startup, listener);
    if (!has_tls())
      if (auto refusal = refuse_plaintext(policy_)) return refusal;
    const ClientAttributes attributes{.address = address_,
                                      .has_tls = has_tls(),
                                      .certificate = certificate_,
                                      .unix_user = query_.unix_user,
                                      .user = startup.user(),
                                      .database = startup.database(),
                                      .physical_replication = query_.replication,
                                      .host_name = query_.host_name};
    std::string assigned_database;
    const Decision decision =
        policy_.rules.decide_request(attributes, names_database(startup), assigned_database);
    add_rules(attributes, decision);
    needs_host_name_ = decision.needs_host_name;
    if (needs_host_name_) return std::nullopt;
    if (decision.refusal) return decision.refusal;
    return admit(decision, assigned_database, std::move(startup));
  }

  [[nodiscard]] std::optional<Ending> shake_hands() {
    if (!policy_.tls)
      return Ending{.reason = Reason::tls_not_offered,
                    .hint =
                        "With sslmode=prefer, libpq goes on without TLS; see the explanation without --tls, "
                        "--cert and --sni."};
    if (auto refusal = present_certificate()) return refusal;
    if (shown_ == nullptr) return std::nullopt;
    if (policy_.config.tls.ssl_ca_file.empty()) {
      add("certificate", "not asked for, since ssl_ca_file is not set");
      return std::nullopt;
    }
    if (const auto failure = policy_.tls->verify(shown_->chain)) return client_tls_ending(*failure);
    certificate_ = &shown_->certificate;
    add("certificate",
        fmt::format("{}, verified by {}", certificate_->subject, policy_.config.tls.ssl_ca_file));
    return std::nullopt;
  }

  // pgveil's own certificate.
  [[nodiscard]] std::optional<Ending> present_certificate() {
    const std::string& name = query_.server_name;
    const auto presented = policy_.tls->presented_for(name);
    if (!presented) {
      auto ending = client_tls_ending(presented.error());
      ending.hint = name.empty() ? "Name the host that the client connects to with --sni: libpq sends it."
                                 : "Add the name to server_names of a certificate of the listener.";
      return ending;
    }
    add("presents", fmt::format("{}, for {}, to a client that requests {}",
                                policy_.config.tls.certificates.at(presented->certificate).ssl_cert_file,
                                presented->names, name.empty() ? "no server name" : in_quotes(name)));
    return std::nullopt;
  }

  [[nodiscard]] std::optional<Ending> check_startup(const protocol::StartupMessage& startup) const {
    using protocol::StartupDefect;
    const auto defect = protocol::find_startup_defect(startup, policy_.rules.may_assign());
    if (!defect) return std::nullopt;
    return Ending{.reason = *defect == StartupDefect::no_user ? Reason::no_user : Reason::protocol_violation,
                  .message = std::string(message_of(*defect))};
  }

  // The ending of a login by SCRAM of a user without a secret.
  [[nodiscard]] std::optional<Ending> refuse_unknown_user(HbaMethod method, const std::string& user) const {
    if (method != HbaMethod::scram_sha_256 || policy_.users.fingerprint(user)) return std::nullopt;
    return Ending{.reason = Reason::password_wrong,
                  .detail = "User " + in_quotes(user) + " is not in auth_file.",
                  .hint = "Add the user to " + policy_.config.auth_file + "."};
  }

  void add_rules(const ClientAttributes& attributes, const Decision& decision) {
    if (query_.all_rules)
      for (const auto& [rule, mismatch] : policy_.rules.compare(attributes))
        add(rule == policy_.rules.rules().front() ? "rules" : "",
            fmt::format("{} {}", record_of(*rule), words_of(mismatch)));
    if (decision.rule == nullptr) return;
    add("rule",
        fmt::format("{}, method {}", record_of(*decision.rule), protocol::name_of(decision.rule->method)));
    if (decision.mapped.line > 0)
      add("map",
          fmt::format("{}:{}, {} is database user {}", decision.mapped.file, decision.mapped.line,
                      in_quotes(decision.mapped.system_user), in_quotes(decision.mapped.database_user)));
  }

  [[nodiscard]] std::optional<Ending> admit(const Decision& decision, const std::string& assigned_database,
                                            protocol::StartupMessage startup) {
    const ListenerConfig& listener = policy_.config;
    const HbaMethod method = decision.rule->method;
    if (asks_for_admin_database(listener, startup)) {
      if (auto refusal = refuse_admin_database(listener, decision)) return refusal;
      if (auto refusal = refuse_unknown_user(method, decision.database_user)) return refusal;
      if (auto refusal = refuse_admin_user(listener, decision.database_user)) return refusal;
      add("admitted", fmt::format("to the admin database, as user {}", in_quotes(decision.database_user)));
      return std::nullopt;
    }
    assign_names(startup, decision, assigned_database);
    const std::string_view identity = certificate_ != nullptr ? std::string_view(certificate_->subject)
                                                              : std::string_view(query_.unix_user);
    if (auto refusal = prepare_startup(startup, listener, decision, identity)) return refusal;
    const Upstream& upstream = *policy_.upstream;
    const auto role = std::string(startup.user());
    const bool wants_role = logs_in_for_client(method) && !upstream.config.role_certificates.empty();
    if (wants_role && !upstream.held.certificate_of(role)) return no_role_certificate(upstream.config, role);
    if (auto refusal = refuse_unknown_user(method, role)) return refusal;
    add("admitted", fmt::format("as database user {}, database {}", in_quotes(startup.user()),
                                in_quotes(startup.database())));
    add_logins(method);
    add_server(upstream);
    add_parameters(startup);
    return std::nullopt;
  }

  void add_logins(HbaMethod method) {
    for (const auto& forecast : forecast_logins(policy_, *policy_.upstream)) {
      if (forecast.method != method || forecast.client_has_tls != has_tls()) continue;
      add("login", forecast.works);
      if (!forecast.fails.empty()) add("", forecast.fails);
    }
  }

  void add_server(const Upstream& upstream) {
    std::string hosts;
    for (const auto& host : upstream.config.hosts) hosts += (hosts.empty() ? "" : ", ") + text_of(host);
    add("server", fmt::format("{}, {}", hosts, brief_tls_of(upstream.config)));
  }

  void add_parameters(const protocol::StartupMessage& startup) {
    std::string text;
    for (const auto& [name, value] : startup.parameters)
      text += fmt::format("{}{}={}", text.empty() ? "" : ", ", name, in_quotes(value));
    add("startup", text);
  }

  void add_refusal(const Ending& ending) {
    const ReasonInfo& reason = describe(ending.reason);
    const std::string_view message = message_of(ending);
    if (reason.sqlstate.empty())
      add("refused", fmt::format("{} (reason {}; the client gets no message)", message, reason.name));
    else
      add("refused",
          fmt::format("FATAL {}: {}{} (reason {})", reason.sqlstate, kMessagePrefix, message, reason.name));
    if (!ending.detail.empty()) add("", ending.detail);
    if (!ending.hint.empty()) add("", ending.hint);
  }

  void add(std::string_view label, std::string_view value) {
    text_ += fmt::format("{:<12}{}\n", label, value);
  }

  const ListenerPolicy& policy_;
  const ExplainQuery& query_;
  const KernelAddress& address_;
  const ShownChain* const shown_;                      // null: the client shows none
  const tls::PeerCertificate* certificate_ = nullptr;  // that was verified
  bool needs_host_name_ = false;
  std::string text_;
};

}  // namespace

tl::expected<Explanation, ConfigError> explain(const Snapshot& snapshot, const ExplainQuery& query) {
  const auto policy = find_listener(snapshot, query.listener);
  if (!policy) return tl::unexpected(policy.error());
  const auto address = client_address(query, (*policy)->config);
  if (!address) return tl::unexpected(address.error());
  if (auto error = check_server_name(query.server_name)) return tl::unexpected(*std::move(error));
  std::optional<ShownChain> shown;
  if (!query.certificate_file.empty()) {
    auto chain = read_chain(query.certificate_file);
    if (!chain) return tl::unexpected(std::move(chain).error());
    shown = *std::move(chain);
  }
  return Explainer(**policy, query, *address, shown ? &*shown : nullptr).explain();
}

int run_explain(const ParsedConfig& parsed, const ExplainQuery& query) {
  const auto fail = [](const ConfigReport& report, int exit_code) {
    std::cerr << report.text() << std::flush;
    return exit_code;
  };
  const auto snapshot = build_snapshot(parsed);
  if (!snapshot) return fail(snapshot.error(), kExitConfig);
  const auto explanation = explain(**snapshot, query);
  if (!explanation) {
    ConfigReport report;
    report.add_error(explanation.error());
    return fail(report, kExitUsage);
  }
  std::cout << printable_lines(explanation->text) << std::flush;
  return explanation->is_admitted ? kExitOk : kExitUnavailable;
}

}  // namespace pgveil::proxy
