#include "proxy/doctor/version_survey.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "proxy/base/timed_socket.h"

namespace pgveil::proxy {

namespace {

// All names, and whether there may be more.
std::string names_of(const AcceptedCiphers& ciphers) {
  const char* more = ciphers.error.empty() ? "" : ", and perhaps more";
  return fmt::format("{}{}", fmt::join(ciphers.names, ", "), more);
}

std::string names_of(const std::vector<tls::Version>& versions) {
  std::vector<std::string_view> names(versions.size());
  std::ranges::transform(versions, names.begin(), [](tls::Version version) { return tls::name_of(version); });
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

AcceptedVersions accepted_versions(const UpstreamConfig& upstream, const KernelAddress& address,
                                   const protocol::Bytes& first_bytes) {
  using tls::Version;
  AcceptedVersions versions;
  // The newest first: what is between here and the server may leave old ones without an answer.
  for (const Version version : {Version::tls1_3, Version::tls1_2, Version::tls1_1, Version::tls1}) {
    if (versions.error == kNoAnswer) {
      versions.unknown.push_back(version);
      continue;
    }
    const auto result =
        survey_handshake(upstream, address, first_bytes, {.server_name = {}, .min = version, .max = version},
                         upstream.sslnegotiation);
    if (result.end == HandshakeEnd::refused) continue;
    const bool is_accepted = result.end == HandshakeEnd::agreed;
    (is_accepted ? versions.accepted : versions.unknown).push_back(version);
    // A server that stalls after its ServerHello is not waited for again either.
    if (!is_accepted || result.error == kNoAnswer) versions.error = result.error;
  }
  std::ranges::reverse(versions.accepted);
  std::ranges::reverse(versions.unknown);
  if (versions.accepted.empty() && versions.error.empty()) versions.error = "none was accepted again";
  return versions;
}

AcceptedCiphers accepted_ciphers(const UpstreamConfig& upstream, const KernelAddress& address,
                                 const protocol::Bytes& first_bytes, tls::SurveyedCiphers ciphers) {
  constexpr std::size_t kMost = 8;
  AcceptedCiphers accepted;
  while (accepted.names.size() < kMost) {
    const auto result = survey_handshake(
        upstream, address, first_bytes,
        {.server_name = {}, .max = tls::Version::tls1_2, .ciphers = ciphers, .without = accepted.names},
        upstream.sslnegotiation);
    if (result.end == HandshakeEnd::unknown) accepted.error = result.error;
    if (result.end != HandshakeEnd::agreed) return accepted;
    accepted.names.push_back(result.cipher);
    if (result.error == kNoAnswer) {
      accepted.error = result.error;
      return accepted;
    }
  }
  accepted.error = "there may be more";
  return accepted;
}

Step ciphers_step(const AcceptedCiphers& broken, const AcceptedCiphers& without_forward_secrecy) {
  constexpr const char* kName = "ciphers";
  if (!broken.names.empty())
    return {.name = kName,
            .outcome = Outcome::failed,
            .text = "broken ones are accepted: " + names_of(broken),
            .finding = Finding{
                .side = Side::server,
                .cause = fmt::format("The server accepts {}, which does not protect a connection.",
                                     broken.names.front()),
                .remedy = "Set ssl_ciphers = 'HIGH:!aNULL' in the server's postgresql.conf, and run SELECT "
                          "pg_reload_conf()."}};
  if (!broken.error.empty()) return {.name = kName, .text = "not known: " + broken.error};
  if (!without_forward_secrecy.names.empty())
    return {
        .name = kName,
        .text = fmt::format("no broken ones; without forward secrecy: {} (ssl_ciphers = 'HIGH:!aNULL:!kRSA' "
                            "refuses them)",
                            names_of(without_forward_secrecy))};
  if (!without_forward_secrecy.error.empty())
    return {.name = kName,
            .text = "no broken ones; forward secrecy is not known: " + without_forward_secrecy.error};
  return {.name = kName, .outcome = Outcome::passed, .text = "no broken ones, all with forward secrecy"};
}

Step versions_step(const AcceptedVersions& versions) {
  const auto& accepted = versions.accepted;
  if (accepted.empty()) return {.name = "versions", .text = "not known: " + versions.error};
  std::string text =
      fmt::format("lowest {}, highest {}", tls::name_of(accepted.front()), tls::name_of(accepted.back()));
  const bool is_current = accepted.front() >= tls::Version::tls1_2;
  if (!is_current && !versions.unknown.empty())
    text += fmt::format("; not known: {} ({})", names_of(versions.unknown), versions.error);
  if (is_current && !versions.unknown.empty())
    return {.name = "versions",
            .text = fmt::format("not known: {} ({}); accepted: {}", names_of(versions.unknown),
                                versions.error, names_of(accepted))};
  if (is_current) return {.name = "versions", .outcome = Outcome::passed, .text = std::move(text)};
  return {.name = "versions",
          .outcome = Outcome::failed,
          .text = std::move(text),
          .finding = Finding{
              .side = Side::server,
              .cause = fmt::format("The server accepts {}, which is not secure any more (RFC 8996).",
                                   tls::name_of(accepted.front())),
              .remedy = "Set ssl_min_protocol_version = 'TLSv1.2' in the server's postgresql.conf, and run "
                        "SELECT pg_reload_conf()."}};
}

}  // namespace pgveil::proxy
