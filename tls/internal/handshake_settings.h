// What a handshake may agree on: from settings into a context of either end. For the .cc files of this layer
// only.
#pragma once

#include <string_view>
#include <vector>

#include "tls/credentials.h"
#include "tls/internal/openssl.h"
#include "tls/settings.h"

namespace pgveil::tls {

// Versions, ciphers, groups and signature algorithms. Warns of what is weaker than the default.
void set_handshake(SSL_CTX* context, const HandshakeSettings& settings, std::vector<SettingMistake>& mistakes,
                   std::vector<SettingMistake>& warnings);

// Whether a group of the key exchange, as OpenSSL calls it, has ML-KEM in it.
[[nodiscard]] bool is_post_quantum(std::string_view group);
// Whether it is one of those that post_quantum = "require" allows: ML-KEM together with an elliptic curve.
[[nodiscard]] bool is_hybrid(std::string_view group);

}  // namespace pgveil::tls
