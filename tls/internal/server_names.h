// The choice among several certificates by the name in SNI: plain values, no OpenSSL.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace pgveil::tls {

class ServerNames {
 public:
  enum class Added {
    added,
    taken,      // already used for another certificate
    malformed,  // empty, or a `*` that is not the whole first of several labels
  };
  // Adds a name: exact, or `*.example.com` for one label before the rest.
  [[nodiscard]] Added add(std::string_view name, std::size_t certificate);
  // Adds the default, for all other names and for no name. Returns false if there is a default already.
  [[nodiscard]] bool add_default(std::size_t certificate);

  // Finds the certificate: the exact name is preferred to the wildcard, and the wildcard to the default.
  // ASCII case and a dot at the end are ignored. Allocates no memory, because OpenSSL calls it.
  [[nodiscard]] std::optional<std::size_t> find(std::string_view name) const;

  // Returns true if there is no name to choose by.
  [[nodiscard]] bool only_default() const { return exact_.empty() && wildcards_.empty(); }

 private:
  struct WithoutCase {
    using is_transparent = void;
    bool operator()(std::string_view left, std::string_view right) const;
  };
  using Table = std::map<std::string, std::size_t, WithoutCase>;
  Table exact_;
  Table wildcards_;  // without the `*`: ".example.com"
  std::optional<std::size_t> default_;
};

}  // namespace pgveil::tls
