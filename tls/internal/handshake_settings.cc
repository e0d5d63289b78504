#include "tls/internal/handshake_settings.h"

#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>

#include "tls/internal/key_shares.h"
#include "tls/internal/policy.h"
#include "tls/version.h"

namespace pgveil::tls {
namespace {

using SettingErrors = std::vector<SettingError>;

struct FreedCiphers {
  void operator()(STACK_OF(SSL_CIPHER) * ciphers) const noexcept { sk_SSL_CIPHER_free(ciphers); }
};
using Ciphers = std::unique_ptr<STACK_OF(SSL_CIPHER), FreedCiphers>;

// The groups of draft-ietf-tls-ecdhe-mlkem, under the names of OpenSSL 3.5 and newer. The most common one is
// first.
constexpr std::array<std::string_view, 3> kHybridGroups{"X25519MLKEM768", "SecP256r1MLKEM768",
                                                        "SecP384r1MLKEM1024"};

std::string upper_case(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  return result;
}

void set_versions(SSL_CTX* context, const HandshakeSettings& settings, SettingErrors& errors) {
  const auto max = settings.ssl_max_protocol_version;
  auto min = settings.ssl_min_protocol_version;
  if (max && *max < min)
    errors.push_back(
        {"ssl_min_protocol_version",
         in_quotes(name_of(min)) + " is higher than ssl_max_protocol_version " + in_quotes(name_of(*max)),
         "Lower the first or raise the second."});
  if (settings.post_quantum == PostQuantum::require) {
    if (max && *max < Version::tls1_3)
      errors.push_back({"post_quantum",
                        "\"require\" requires TLS 1.3, which ssl_max_protocol_version " +
                            in_quotes(name_of(*max)) + " excludes",
                        "Remove ssl_max_protocol_version."});
    min = Version::tls1_3;
  }
  set_common_policy(context, min, max);
}

bool offers_tls13(SSL_CTX* context) {
  const auto* ciphers = SSL_CTX_get_ciphers(context);
  for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); ++i) {
    if (std::string_view(SSL_CIPHER_get_version(sk_SSL_CIPHER_value(ciphers, i))) == "TLSv1.3") return true;
  }
  return false;
}

void set_ciphers(SSL_CTX* context, const HandshakeSettings& settings, SettingErrors& errors) {
  const std::string list = settings.ssl_ciphers.empty() ? std::string(kDefaultCiphers) : settings.ssl_ciphers;
  const bool is_set = SSL_CTX_set_cipher_list(context, list.c_str()) == 1;
  ERR_clear_error();
  if (!is_set)
    errors.push_back(
        {"ssl_ciphers", in_quotes(list) + " matches no cipher",
         "Use names from `openssl ciphers -v`. Ciphers of TLS 1.3 belong in ssl_tls13_ciphers."});
  const std::string& tls13 = settings.ssl_tls13_ciphers;
  // OpenSSL ignores names that it does not know, and accepts names of older ciphers.
  if (!tls13.empty() && (SSL_CTX_set_ciphersuites(context, tls13.c_str()) != 1 || !offers_tls13(context)))
    errors.push_back({"ssl_tls13_ciphers", in_quotes(tls13) + " matches no cipher of TLS 1.3",
                      "Use names from `openssl ciphers -v -s -tls1_3`, such as TLS_AES_256_GCM_SHA384."});
}

// Does the same as SSL_CTX_set1_groups_list() and SSL_CTX_set1_sigalgs_list() without the macros' C casts.
// OpenSSL only reads the list.
bool set_list(SSL_CTX* context, int which, const std::string& list) {
  ERR_clear_error();
  const bool is_set = SSL_CTX_ctrl(context, which, 0, const_cast<char*>(list.c_str())) == 1;
  ERR_clear_error();
  return is_set;
}

void set_groups(SSL_CTX* context, const std::string& groups, SettingErrors& errors) {
  if (groups.empty() || set_list(context, SSL_CTRL_SET_GROUPS_LIST, groups)) return;
  errors.push_back({"ssl_groups", in_quotes(groups) + " contains a group that this OpenSSL does not have",
                    "Use groups of this OpenSSL, such as X25519:P-256, or remove the setting."});
}

void set_signature_algorithms(SSL_CTX* context, const std::string& algorithms, SettingErrors& errors) {
  if (algorithms.empty() || set_list(context, SSL_CTRL_SET_SIGALGS_LIST, algorithms)) return;
  errors.push_back({"ssl_signature_algorithms",
                    "invalid list of signature algorithms " + in_quotes(algorithms) +
                        ": this OpenSSL does not have one of them, or one is specified more than once",
                    "Use names such as ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256, or remove the setting."});
}

// Returns whether each algorithm of the list is a signature of SHA-1. OpenSSL names them RSA+SHA1 or rsa_pkcs1_sha1.
bool are_all_of_sha1(const std::string& algorithms) {
  std::string_view rest = algorithms;
  for (;;) {
    const auto end = std::min(rest.find(':'), rest.size());
    if (!upper_case(rest.substr(0, end)).ends_with("SHA1")) return false;
    if (end == rest.size()) return true;
    rest.remove_prefix(end + 1);
  }
}

// TLS 1.3 has no such signatures, and OpenSSL uses them in older versions only at security level 0.
void warn_of_sha1(const std::string& algorithms, SettingErrors& warnings) {
  if (algorithms.empty() || !are_all_of_sha1(algorithms)) return;
  warnings.push_back({"ssl_signature_algorithms",
                      "allows only signatures of SHA-1, which TLS 1.3 does not have and OpenSSL does not use "
                      "in older versions by default, so that handshakes fail",
                      "Add ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256, or remove the setting."});
}

// Returns the groups that a client with `groups` offers in TLS 1.3; empty if OpenSSL does not accept
// `groups`.
std::vector<std::string> groups_of(const SSL_CTX* context, const std::string& groups) {
  const SslContext client(SSL_CTX_new(TLS_client_method()));
  if (!client) return {};
  SSL_CTX_set_security_level(client.get(), SSL_CTX_get_security_level(context));
  SSL_CTX_set_min_proto_version(client.get(), TLS1_3_VERSION);
  if (!set_list(client.get(), SSL_CTRL_SET_GROUPS_LIST, groups)) return {};
  return KeyShares(client.get()).offered();
}

std::string hybrids_in(const std::vector<std::string>& groups) {
  std::string list;
  for (const auto& group : groups)
    if (is_hybrid(group)) list += (list.empty() ? "" : ":") + group;
  return list;
}

// Returns all hybrid groups that this OpenSSL supports.
std::string known_hybrids(const SSL_CTX* context) {
  std::vector<std::string> known;
  for (const auto hybrid : kHybridGroups)
    for (auto& group : groups_of(context, std::string(hybrid))) known.push_back(std::move(group));
  return hybrids_in(known);
}

void require_post_quantum(SSL_CTX* context, const std::string& groups, SettingErrors& errors) {
  const std::string known = known_hybrids(context);
  if (known.empty()) {
    errors.push_back({"post_quantum",
                      "\"require\" requires a hybrid group of ML-KEM, and " + openssl_version() + " has none",
                      "Use OpenSSL 3.5 or newer."});
    return;
  }
  const std::string list = groups.empty() ? known : hybrids_in(groups_of(context, groups));
  if (list.empty()) {
    errors.push_back(
        {"post_quantum",
         "\"require\" requires a hybrid group of ML-KEM, and ssl_groups " + in_quotes(groups) + " has none",
         "Add one of " + known + " to ssl_groups, or remove ssl_groups."});
    return;
  }
  set_groups(context, list, errors);
}

// Returns whether a cipher of TLS 1.2 or older is as strong as kDefaultCiphers: it has forward secrecy and
// authenticated encryption with a key of at least 128 bits.
bool is_as_strong_as_default(const SSL_CIPHER* cipher) {
  const int exchange = SSL_CIPHER_get_kx_nid(cipher);
  return SSL_CIPHER_is_aead(cipher) == 1 && SSL_CIPHER_get_bits(cipher, nullptr) >= 128 &&
         (exchange == NID_kx_ecdhe || exchange == NID_kx_dhe || exchange == NID_kx_any);
}

void warn_of_weak_ciphers(const STACK_OF(SSL_CIPHER) * ciphers, SettingErrors& warnings) {
  std::string first;
  int count = 0;
  for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); ++i) {
    const SSL_CIPHER* cipher = sk_SSL_CIPHER_value(ciphers, i);
    if (!is_as_strong_as_default(cipher) && count++ == 0) first = SSL_CIPHER_get_name(cipher);
  }
  if (count == 0) return;
  const std::string others = count > 1 ? " and " + std::to_string(count - 1) + " more" : "";
  warnings.push_back(
      {"ssl_ciphers",
       "allows " + in_quotes(first) + others + ", without forward secrecy or authenticated encryption",
       "Use the default, " + in_quotes(kDefaultCiphers) + "."});
}

// Checks the combined result of the settings.
void check_ciphers(SSL_CTX* context, SettingErrors& errors, SettingErrors& warnings) {
  const Ssl ssl(SSL_new(context));
  const Ciphers ciphers(SSL_get1_supported_ciphers(ssl.get()));
  if (sk_SSL_CIPHER_num(ciphers.get()) <= 0)
    errors.push_back({"ssl_ciphers", "no cipher can be used with the TLS versions that are accepted",
                      "Change ssl_ciphers, ssl_min_protocol_version or ssl_max_protocol_version."});
  for (int i = 0; i < sk_SSL_CIPHER_num(ciphers.get()); ++i) {
    const SSL_CIPHER* cipher = sk_SSL_CIPHER_value(ciphers.get(), i);
    if (SSL_CIPHER_get_auth_nid(cipher) != NID_auth_null && SSL_CIPHER_get_cipher_nid(cipher) != NID_undef)
      continue;
    errors.push_back({"ssl_ciphers",
                      "allows " + in_quotes(SSL_CIPHER_get_name(cipher)) +
                          ", which does not encrypt or does not require a certificate",
                      "Add :!aNULL:!eNULL at the end."});
    return;
  }
  warn_of_weak_ciphers(ciphers.get(), warnings);
}

}  // namespace

bool is_post_quantum(std::string_view group) {
  return upper_case(group).find("MLKEM") != std::string::npos;
}

bool is_hybrid(std::string_view group) {
  return std::any_of(kHybridGroups.begin(), kHybridGroups.end(),
                     [name = upper_case(group)](auto hybrid) { return upper_case(hybrid) == name; });
}

void set_handshake(SSL_CTX* context, const HandshakeSettings& settings, SettingErrors& errors,
                   SettingErrors& warnings) {
  SettingErrors found;
  set_versions(context, settings, found);
  set_ciphers(context, settings, found);
  set_groups(context, settings.ssl_groups, found);
  set_signature_algorithms(context, settings.ssl_signature_algorithms, found);
  if (settings.post_quantum == PostQuantum::require)
    require_post_quantum(context, settings.ssl_groups, found);
  if (found.empty()) {
    check_ciphers(context, found, warnings);
    warn_of_sha1(settings.ssl_signature_algorithms, warnings);
  }
  warn_of_old_version("ssl_min_protocol_version", settings.ssl_min_protocol_version, warnings);
  for (auto& error : found) errors.push_back(std::move(error));
}

}  // namespace pgveil::tls
