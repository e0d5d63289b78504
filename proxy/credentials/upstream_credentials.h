// What pgveil holds to log in to an upstream with, on behalf of clients.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "protocol/pass_file.h"
#include "proxy/config/config.h"
#include "tls/client_context.h"

namespace pgveil::proxy {

class UpstreamCredentials {
 public:
  // Reads what `upstream` names; `base` is its own context, null without TLS. `key` is the section's in
  // `locations`. Returns all errors at once; in `warnings` certificates that have expired or soon will.
  [[nodiscard]] static tl::expected<UpstreamCredentials, ConfigErrors> load(const UpstreamConfig& upstream,
                                                                            const tls::ClientContext* base,
                                                                            const std::string& key,
                                                                            const SourceLocations& locations,
                                                                            ConfigErrors& warnings);

  // The password of passfile for a login there; null: none. Points into this.
  [[nodiscard]] std::shared_ptr<const protocol::SecretText> password(const UpstreamHost& host,
                                                                     std::string_view database,
                                                                     std::string_view user) const;
  // Of role_certificates; null: none.
  [[nodiscard]] std::shared_ptr<const tls::ClientContext> certificate_of(std::string_view role) const;
  [[nodiscard]] std::size_t certificate_count() const { return by_role_.size(); }

 private:
  std::shared_ptr<const protocol::PassFile> passfile_;  // null: none
  std::map<std::string, std::shared_ptr<const tls::ClientContext>, std::less<>> by_role_;
};

}  // namespace pgveil::proxy
