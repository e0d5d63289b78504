// When certificates and CRLs in files expire.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tls/peer_certificate.h"

namespace pgveil::tls {

struct Expiry {
  enum class Kind { certificate, authority, crl };

  std::string file;
  Kind kind = Kind::certificate;
  std::string subject;      // in the format of RFC 2253; of a CRL: its issuer
  std::int64_t begins = 0;  // in seconds since 1970
  std::int64_t ends = 0;    // of a CRL: the time of its next update

  bool operator==(const Expiry& other) const = default;
};
[[nodiscard]] std::string_view name_of(Expiry::Kind kind);

// Returns whether a warning is due: the rest of its life is shorter than `notice`, and than a third of its whole life.
// `now` is in seconds since 1970.
[[nodiscard]] bool expires_soon(const Expiry& expiry, std::int64_t now, std::chrono::seconds notice);

// The certificate that a peer has shown; it is in no file.
[[nodiscard]] Expiry expiry_of(const PeerCertificate& certificate);

[[nodiscard]] bool is_valid_at(const Expiry& expiry, std::int64_t now);
// Returns whether `one` is better than `other`, which has the same kind and subject. One that is valid at `now` is better than one
// that is not; otherwise the one that expires last is better.
[[nodiscard]] bool is_better_at(std::int64_t now, const Expiry& one, const Expiry& other);

// Returns what is in a PEM file, in its order. `kind`: of its certificates. A CRL without the time of its next update, and
// what cannot be read, is left out. If the file has several of one kind and subject, as during the replacement of an authority,
// returns only the best one at `now`; without `now` the one that expires last, since OpenSSL uses that one when the others have
// expired. The first certificate of Kind::certificate is always returned: no other one is shown to the peer in its place.
[[nodiscard]] std::vector<Expiry> expiries_in(const std::string& file, Expiry::Kind kind,
                                              std::optional<std::int64_t> now = std::nullopt);

// Returns the files of a CRL directory that OpenSSL finds, as `openssl rehash` has named them.
[[nodiscard]] std::vector<std::string> crl_files_in(const std::string& directory);

}  // namespace pgveil::tls
