#include "proxy/credentials/user_secrets.h"

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "protocol/auth_file.h"
#include "proxy/config/config_error.h"
#include "proxy/credentials/scram_hash.h"
#include "proxy/credentials/secret_file.h"

namespace pgveil::proxy {
namespace {

// CVE-2026-14672: a mock secret with other iterations than the users have tells who is none.
std::uint32_t most_common_iterations(const std::vector<protocol::UserListEntry>& entries,
                                     std::uint32_t otherwise) {
  std::map<std::uint32_t, std::size_t> count;
  for (const auto& entry : entries)
    if (const auto* secret = std::get_if<protocol::ScramSecret>(&entry.secret))
      ++count[secret->salting.iterations];
  const auto most = std::max_element(count.begin(), count.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == count.end() ? otherwise : most->first;
}

// Returns the key of this process for fingerprint().
const tls::Sha256& fingerprint_key() {
  static const tls::Sha256 key = [] {
    tls::Sha256 random{};
    tls::fill_random(random);
    return random;
  }();
  return key;
}

std::vector<std::uint8_t> bytes_of(const protocol::ScramSecret& secret) {
  const std::string iterations = "scram " + std::to_string(secret.salting.iterations) + ' ';
  const std::initializer_list<protocol::ByteView> parts{secret.stored_key.view(), secret.server_key.view(),
                                                        protocol::ByteView(secret.salting.salt)};
  std::size_t size = iterations.size();
  for (const auto& part : parts) size += part.size();
  std::vector<std::uint8_t> bytes;
  bytes.reserve(size);  // a buffer that grows would leave copies of the keys behind
  bytes.assign(iterations.begin(), iterations.end());
  for (const auto& part : parts) bytes.insert(bytes.end(), part.begin(), part.end());
  return bytes;
}

}  // namespace

tl::expected<UserSecrets, ConfigErrors> UserSecrets::load(const std::string& path, const std::string& key,
                                                          const SourceLocations& locations,
                                                          ConfigErrors& warnings) {
  const auto text = read_secret_file(path, key, locations);
  if (!text) return tl::unexpected(ConfigErrors{text.error()});
  auto entries = protocol::parse_user_list(text->view(), path);
  if (!entries) return tl::unexpected(config_errors_of(entries.error(), key));

  UserSecrets users;
  users.iterations_ = most_common_iterations(*entries, users.iterations_);
  const std::string_view content = text->view();
  users.mock_key_ = scram_hash().hmac_sha256(
      protocol::ByteView(reinterpret_cast<const std::uint8_t*>("pgveil auth_file"), 16),
      {reinterpret_cast<const std::uint8_t*>(content.data()), content.size()});
  for (auto& entry : *entries) {
    if (std::holds_alternative<protocol::Md5Secret>(entry.secret))
      warnings.push_back(
          {path, entry.line, key,
           "user " + protocol::in_quotes(entry.user) + " has an MD5 hash, with which nobody logs in by SCRAM",
           "Put the secret of pg_authid there after setting the password anew with "
           "password_encryption = 'scram-sha-256'."});
    else
      users.add(std::move(entry));
  }
  return users;
}

// A plain password gets the salt that its user would have as an unknown one.
void UserSecrets::add(protocol::UserListEntry entry) {
  if (auto* secret = std::get_if<protocol::ScramSecret>(&entry.secret)) {
    users_.emplace(std::move(entry.user), AuthUser{std::move(*secret), nullptr});
    return;
  }
  auto password =
      std::make_shared<const protocol::SecretText>(std::move(std::get<protocol::SecretText>(entry.secret)));
  auto salting = protocol::mock_scram_secret(entry.user, mock_key_.view(), iterations_, scram_hash()).salting;
  const auto salted = salted_password(password->view(), salting);
  users_.emplace(std::move(entry.user),
                 AuthUser{protocol::secret_of(salted, salting, scram_hash()), std::move(password)});
}

AuthUser UserSecrets::find(std::string_view user) const {
  AuthUser mock{protocol::mock_scram_secret(user, mock_key_.view(), iterations_, scram_hash()), nullptr};
  const auto found = users_.find(user);
  return found == users_.end() ? mock : found->second;
}

// The salt of a plain password depends on the whole file, so that the hash is of the password itself.
std::optional<tls::Sha256> UserSecrets::fingerprint(std::string_view user) const {
  const auto found = users_.find(user);
  if (found == users_.end()) return std::nullopt;
  const auto& [secret, password] = found->second;
  if (!password) {
    auto bytes = bytes_of(secret);
    const auto fingerprint = tls::hmac_sha256(fingerprint_key(), bytes);
    tls::wipe(bytes);
    return fingerprint;
  }
  const std::string_view text = password->view();
  return tls::hmac_sha256(fingerprint_key(),
                          {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

}  // namespace pgveil::proxy
