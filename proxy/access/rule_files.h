// The files of pg_hba.conf and pg_ident.conf, with what they include.
#pragma once

#include "protocol/auth_file.h"

namespace pgveil::proxy {

class AuthFiles final : public protocol::AuthFileSource {
 public:
  [[nodiscard]] tl::expected<std::string, Error> read(const std::string& path) const override;
  [[nodiscard]] tl::expected<std::vector<std::string>, Error> list(
      const std::string& directory) const override;
};

}  // namespace pgveil::proxy
