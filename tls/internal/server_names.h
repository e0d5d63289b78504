// Which of several certificates a name in SNI is answered with: plain values, no OpenSSL.
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
    taken,      // by another certificate
    malformed,  // empty, or a `*` that is not the whole first label of several
  };
  // `name` is exact, or `*.example.com` for one label before the rest.
  [[nodiscard]] Added add(std::string_view name, std::size_t certificate);
  // For all other names, and for none. False where there is one already.
  [[nodiscard]] bool add_default(std::size_t certificate);

  // The exact name before the wildcard, and that before the default. ASCII case and a dot at the end do not
  // matter. Allocates nothing, as it is called through OpenSSL.
  [[nodiscard]] std::optional<std::size_t> find(std::string_view name) const;

  // Whether there is anything to choose.
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
