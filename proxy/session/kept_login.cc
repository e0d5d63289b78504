#include "proxy/session/kept_login.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/access/access_rules.h"
#include "proxy/session/admission_checks.h"

namespace pgveil::proxy {
namespace {

Ending no_longer_admitted(std::string detail) {
  return {.reason = Reason::no_longer_admitted, .detail = std::move(detail)};
}

tls::Sha256 digest_of(const tls::PeerChain& chain) {
  std::vector<std::uint8_t> digests;
  for (const auto& certificate : chain) {
    const tls::Sha256 digest = tls::sha256(certificate);
    digests.insert(digests.end(), digest.begin(), digest.end());
  }
  return tls::sha256(digests);
}

// Returns the listener of `now` with the address of `then`; nullptr: there is none. With port 0, several listeners may
// have the same address: then the first of one snapshot corresponds to the first of the other, and so on.
const ListenerPolicy* same_listener(const SnapshotListener& then, const Snapshot& now) {
  const std::string address = then.policy().config.address.text();
  const auto has_address = [&address](const ListenerPolicy& listener) {
    return listener.config.address.text() == address;
  };
  std::size_t earlier = 0;
  for (const auto& listener : then.snapshot().listeners) {
    if (&listener == &then.policy()) break;
    if (has_address(listener)) ++earlier;
  }
  for (const auto& listener : now.listeners)
    if (has_address(listener) && earlier-- == 0) return &listener;
  return nullptr;
}

// `whose`: "client" or "server".
// nullopt: the session goes on. A revocation list that is missing or out of date says nothing about the certificate: a new
// login is refused then, but sessions do not end because a list is late.
std::optional<Ending> bad_certificate(std::string_view whose, const ChainVerdicts::Verdict& verdict) {
  if (!verdict || verdict->failure == tls::Failure::crl_unusable) return std::nullopt;
  const tls::FailureReport& report = *verdict;
  return no_longer_admitted(fmt::format("The certificate of the {} is no longer accepted: {}.{}{}", whose,
                                        report.reason, report.detail.empty() ? "" : " ", report.detail));
}

// A client of a listener that asks for no certificates is treated as one that has shown none.
bool asks_for_certificates(const ListenerPolicy& policy) {
  return policy.tls && !policy.config.tls.ssl_ca_file.empty();
}

std::optional<Ending> check_client_tls(const KeptLogin& login, const ListenerPolicy& policy,
                                       ChainVerdicts& verdicts) {
  if (!login.client_tls) {
    if (!requires_tls(policy)) return std::nullopt;
    return no_longer_admitted("The listener requires TLS now, and the session does not use it.");
  }
  if (!login.client_tls->peer_chain || !asks_for_certificates(policy)) return std::nullopt;
  return bad_certificate("client", verdicts.of_client(*policy.tls, *login.client_tls->peer_chain));
}

Ending refused(const Ending& refusal) {
  return no_longer_admitted(fmt::format("A new login would be refused: {}.{}{}", message_of(refusal),
                                        refusal.detail.empty() ? "" : " ", refusal.detail));
}

// Compares the decision about a new login with the one that was made.
std::optional<Ending> compare(const KeptLogin& login, const Decision& decision) {
  if (decision.needs_host_name)
    return no_longer_admitted(
        "A rule asks for the host name of the client now, which was not looked up when the session began.");
  if (decision.refusal) return refused(*decision.refusal);
  if (decision.database_user != login.database_user)
    return no_longer_admitted(
        fmt::format("The rules assign the database user \"{}\" now, in place of \"{}\".",
                    decision.database_user, login.database_user));
  if (decision.rule->method != login.method)
    return no_longer_admitted(fmt::format(
        "The rule in {}:{} requires method {} now, in place of {}.", decision.rule->file, decision.rule->line,
        protocol::name_of(decision.rule->method), protocol::name_of(login.method)));
  return std::nullopt;
}

std::optional<Ending> check_rules(const KeptLogin& login, const KernelAddress& address,
                                  const ListenerPolicy& policy) {
  const bool has_certificate =
      login.client_tls && login.client_tls->peer_chain && asks_for_certificates(policy);
  const ClientAttributes attributes{.address = address,
                                    .has_tls = login.client_tls != nullptr,
                                    .certificate = has_certificate ? &*login.client_tls->peer : nullptr,
                                    .unix_user = login.unix_user,
                                    .user = login.user,
                                    .database = login.database,
                                    .physical_replication = login.physical_replication,
                                    .host_name = login.host_name};
  std::string assigned_database;
  return compare(login, policy.rules.decide_request(attributes, login.names_database, assigned_database));
}

std::optional<Ending> check_admin_database(const KeptLogin& login, const ListenerConfig& listener) {
  const bool would_be = is_for_admin_database(listener, {.name = login.database,
                                                         .is_named = login.names_database,
                                                         .physical_replication = login.physical_replication});
  if (login.is_for_admin_database && !would_be)
    return no_longer_admitted(fmt::format("\"{}\" is not the admin database any more.", login.database));
  if (!login.is_for_admin_database && would_be)
    return no_longer_admitted(fmt::format("\"{}\" is the admin database now.", login.database));
  if (!would_be) return std::nullopt;
  const auto refusal = refuse_admin_user(listener, login.database_user);
  return refusal ? std::optional(refused(*refusal)) : std::nullopt;
}

std::optional<Ending> check_secret(const KeptLogin& login, const ListenerPolicy& policy) {
  if (login.method != protocol::HbaMethod::scram_sha_256) return std::nullopt;
  const auto secret = policy.users.fingerprint(login.database_user);
  if (secret == login.secret) return std::nullopt;
  const std::string& user = login.database_user;
  return no_longer_admitted(secret ? fmt::format("auth_file has another secret for user \"{}\" now.", user)
                                   : fmt::format("User \"{}\" is not in auth_file any more.", user));
}

// Only a certificate is judged: a session without TLS goes on, and so does one whose upstream uses no TLS now.
std::optional<Ending> check_server(const KeptLogin& login, const Upstream& upstream,
                                   ChainVerdicts& verdicts) {
  if (!login.server_chain || !upstream.tls) return std::nullopt;
  return bad_certificate("server", verdicts.of_server(*upstream.tls, *login.server_chain, login.server_host));
}

}  // namespace

const ChainVerdicts::Verdict& ChainVerdicts::of_client(const tls::ServerContext& context,
                                                       const tls::PeerChain& chain) {
  Key key(&context, digest_of(chain), std::string());
  const auto found = verdicts_.find(key);
  if (found != verdicts_.end()) return found->second;
  return verdicts_.emplace(std::move(key), context.verify(chain)).first->second;
}

const ChainVerdicts::Verdict& ChainVerdicts::of_server(const tls::ClientContext& context,
                                                       const tls::PeerChain& chain, const std::string& host) {
  Key key(&context, digest_of(chain), host);
  const auto found = verdicts_.find(key);
  if (found != verdicts_.end()) return found->second;
  return verdicts_.emplace(std::move(key), context.verify(chain, host)).first->second;
}

std::optional<Ending> check_login(const KeptLogin& login, const KernelAddress& address,
                                  const SnapshotListener& then, const Snapshot& now,
                                  ChainVerdicts& verdicts) {
  const ListenerPolicy* policy = same_listener(then, now);
  if (policy == nullptr)
    return no_longer_admitted(
        fmt::format("The configuration has no listener {} any more.", then.policy().config.address.text()));
  if (auto ending = check_client_tls(login, *policy, verdicts)) return ending;
  if (auto ending = check_rules(login, address, *policy)) return ending;
  if (auto ending = check_admin_database(login, policy->config)) return ending;
  if (auto ending = check_secret(login, *policy)) return ending;
  return check_server(login, *policy->upstream, verdicts);
}

}  // namespace pgveil::proxy
