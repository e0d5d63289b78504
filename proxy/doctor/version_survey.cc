#include "proxy/doctor/version_survey.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <string>

#include "proxy/doctor/server_survey.h"

namespace pgveil::proxy {

std::vector<tls::Version> accepted_versions(const UpstreamConfig& upstream, const KernelAddress& address,
                                            const protocol::Bytes& first_bytes) {
  using tls::Version;
  std::vector<Version> accepted;
  for (const Version version : {Version::tls1, Version::tls1_1, Version::tls1_2, Version::tls1_3})
    if (survey_handshake(upstream, address, first_bytes, {.server_name = {}, .min = version, .max = version},
                         upstream.sslnegotiation)
            .server)
      accepted.push_back(version);
  return accepted;
}

std::vector<std::string> accepted_ciphers(const UpstreamConfig& upstream, const KernelAddress& address,
                                          const protocol::Bytes& first_bytes, tls::SurveyedCiphers ciphers) {
  constexpr std::size_t kMost = 8;
  std::vector<std::string> accepted;
  while (accepted.size() < kMost) {
    const auto result = survey_handshake(
        upstream, address, first_bytes,
        {.server_name = {}, .max = tls::Version::tls1_2, .ciphers = ciphers, .without = accepted},
        upstream.sslnegotiation);
    if (!result.server) break;
    accepted.push_back(result.server->agreed.cipher);
  }
  return accepted;
}

Step ciphers_step(const std::vector<std::string>& broken,
                  const std::vector<std::string>& without_forward_secrecy) {
  constexpr const char* kName = "ciphers";
  if (!broken.empty())
    return {.name = kName,
            .outcome = Outcome::failed,
            .text = fmt::format("broken ones are accepted: {}", fmt::join(broken, ", ")),
            .finding = Finding{
                .side = Side::server,
                .cause = fmt::format("The server accepts {}, which does not protect a connection.",
                                     broken.front()),
                .remedy = "Set ssl_ciphers = 'HIGH:!aNULL' in the server's postgresql.conf, and run SELECT "
                          "pg_reload_conf()."}};
  if (!without_forward_secrecy.empty())
    return {
        .name = kName,
        .text = fmt::format("no broken ones; without forward secrecy: {} (ssl_ciphers = 'HIGH:!aNULL:!kRSA' "
                            "refuses them)",
                            fmt::join(without_forward_secrecy, ", "))};
  return {.name = kName, .outcome = Outcome::passed, .text = "no broken ones, all with forward secrecy"};
}

Step versions_step(const std::vector<tls::Version>& accepted) {
  if (accepted.empty()) return {.name = "versions", .text = "not known: none was accepted again"};
  std::string text =
      fmt::format("lowest {}, highest {}", tls::name_of(accepted.front()), tls::name_of(accepted.back()));
  if (accepted.front() >= tls::Version::tls1_2)
    return {.name = "versions", .outcome = Outcome::passed, .text = std::move(text)};
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
