// The users of a listener's auth_file: whose password pgveil checks itself.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "protocol/scram.h"
#include "protocol/secret.h"
#include "protocol/user_list.h"
#include "proxy/config/config.h"
#include "tls/digest.h"

namespace pgveil::proxy {

// What a client's proof is checked against.
struct AuthUser {
  protocol::ScramSecret secret;                          // a mock one where there is no such user
  std::shared_ptr<const protocol::SecretText> password;  // null: only the verifier is held
};

class UserSecrets {
 public:
  // Without any user: everyone's proof is wrong.
  UserSecrets() = default;
  // Reads the file, and hashes its plain passwords. Returns all errors at once; in `warnings` the users that can
  // never log in. `key` is the setting's in `locations`.
  [[nodiscard]] static tl::expected<UserSecrets, ConfigErrors> load(const std::string& path,
                                                                    const std::string& key,
                                                                    const SourceLocations& locations,
                                                                    ConfigErrors& warnings);

  // For an unknown user a secret that no proof is right for, with the salting that a known one could have.
  // The work is the same for both.
  [[nodiscard]] AuthUser find(std::string_view user) const;
  // A hash of the user's secret as the file has it: two are equal if the secrets are. It is keyed with a random number of
  // the process, so it tells nothing about the secret. nullopt: there is no such user.
  [[nodiscard]] std::optional<tls::Sha256> fingerprint(std::string_view user) const;
  [[nodiscard]] std::size_t size() const { return users_.size(); }

 private:
  void add(protocol::UserListEntry entry);

  std::map<std::string, AuthUser, std::less<>> users_;
  // From the whole file: replicas that have the same one make up the same salts.
  protocol::SecretKey mock_key_;
  std::uint32_t iterations_ = 4096;  // what most of the users have; PostgreSQL's scram_iterations
};

}  // namespace pgveil::proxy
