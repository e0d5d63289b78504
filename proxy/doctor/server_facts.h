// What a server says about itself after a completed login.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "proxy/doctor/hba_review.h"
#include "proxy/doctor/report.h"
#include "proxy/doctor/trial_login.h"
#include "tls/established.h"

namespace pgveil::proxy {

// The row of pg_stat_ssl for our own connection.
struct BackendTls {
  bool is_used = false;
  std::string version, cipher, bits;
};

// An error is why the fact is not known, in the words of the server.
template <class T>
using Fact = tl::expected<T, std::string>;

struct ServerFacts {
  std::string version;  // server_version; empty: it was not sent
  Fact<std::string> ssl;
  Fact<std::string> password_encryption;
  Fact<BackendTls> tls;
  Fact<std::vector<HbaRule>> rules;
  // What the server's clock is ahead of ours, in seconds; negative: it is behind.
  Fact<double> clock_lead;
};

// Asks the server. The login has succeeded. The admin console of PgBouncer is not asked.
[[nodiscard]] ServerFacts ask_for_facts(TrialLogin& login);

// Returns the facts as steps with their findings. `agreed`: version and cipher of our TLS connection. `responder`: the program
// that is at the other end of it.
[[nodiscard]] std::vector<Step> steps_of(const ServerFacts& facts, const tls::Established& agreed,
                                         std::optional<Responder> responder);

// Returns the number before the first dot of server_version; 0: none.
[[nodiscard]] int major_version_of(const std::string& server_version);

}  // namespace pgveil::proxy
