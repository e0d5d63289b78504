// The files of pg_hba.conf and pg_ident.conf, with what they include.
#pragma once

#include <set>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "protocol/auth_file.h"

namespace pgveil::proxy {

class AuthFiles final : public protocol::AuthFileSource {
 public:
  [[nodiscard]] tl::expected<std::string, Error> read(const std::string& path) const override;
  [[nodiscard]] tl::expected<std::vector<std::string>, Error> list(
      const std::string& directory) const override;

  // Returns the files and directories of all calls, also of those that failed.
  [[nodiscard]] const std::set<std::string>& paths() const { return paths_; }

 private:
  mutable std::set<std::string> paths_;
};

}  // namespace pgveil::proxy
