// The settings of what a handshake may negotiate, for the contexts of both sides. This header is internal to
// tls/.
#pragma once

#include <string_view>
#include <vector>

#include "tls/credentials.h"
#include "tls/internal/openssl.h"
#include "tls/settings.h"

namespace pgveil::tls {

// Sets versions, ciphers, groups and signature algorithms. Warns if they are weaker than the default.
void set_handshake(SSL_CTX* context, const HandshakeSettings& settings, std::vector<SettingError>& errors,
                   std::vector<SettingError>& warnings);

// Returns whether a group of the key exchange, under OpenSSL's name, contains ML-KEM.
[[nodiscard]] bool is_post_quantum(std::string_view group);
// Returns whether post_quantum = "require" allows the group: ML-KEM combined with an elliptic curve.
[[nodiscard]] bool is_hybrid(std::string_view group);

}  // namespace pgveil::tls
