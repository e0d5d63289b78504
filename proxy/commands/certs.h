// `pgveil certs`: a development authority in a directory, and what it issues.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "proxy/commands/authority_directory.h"
#include "tls/certificate_authority.h"

namespace pgveil::proxy {

struct CertsRequest {
  enum class Action { ca, server, client, renew, revoke, crl, show };

  Action action = Action::show;
  std::string directory;    // of the authority; empty: the directory of the file
  std::string name;         // of `ca`; empty: a name that no other authority has
  std::string output;       // of `server` and `client`: the path of the new files, without ".crt" and ".key"
  std::optional<int> days;  // empty: the default, or as long as the authority is valid if that is shorter
  tls::NewKey key = tls::NewKey::p256;
  tls::NewCertificate certificate;   // of `server` and `client`
  std::vector<std::string> files;    // of `renew`, `revoke` and `show`
  std::vector<std::string> serials;  // of `revoke`: as in tls::PeerCertificate
  bool as_json = false;              // of `show`
};

// Does what is asked, and prints what was made and how it is used, or the error. Returns the exit code.
[[nodiscard]] int run_certs(const CertsRequest& request);

// The same at a given time, in seconds since 1970. Returns the text for standard output.
[[nodiscard]] tl::expected<std::string, CertsFailure> perform(const CertsRequest& request, std::int64_t now);

}  // namespace pgveil::proxy
