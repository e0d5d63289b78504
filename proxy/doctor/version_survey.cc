#include "proxy/doctor/version_survey.h"

#include <fmt/format.h>

#include <array>
#include <string>

#include "proxy/doctor/server_survey.h"

namespace pgveil::proxy {

std::vector<tls::Version> accepted_versions(const UpstreamConfig& upstream, const KernelAddress& address,
                                            const protocol::Bytes& first_bytes) {
  using tls::Version;
  std::vector<Version> accepted;
  for (const Version version : {Version::tls1, Version::tls1_1, Version::tls1_2, Version::tls1_3})
    if (survey_version(upstream, address, first_bytes, version).server) accepted.push_back(version);
  return accepted;
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
