// What contexts of both ends have in common. For the .cc files of this layer only.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "tls/credentials.h"
#include "tls/internal/openssl.h"
#include "tls/settings.h"

namespace pgveil::tls {

inline constexpr std::string_view kAlpnProtocol = "postgresql";  // PG_ALPN_PROTOCOL, pqcomm.h
// Nothing that can be resumed, renegotiated or compressed; partial writes; and no buffers held by an idle
// connection.
void set_common_policy(SSL_CTX* context, Version min, std::optional<Version> max);

// Warns of a range of versions that begins below TLS 1.2.
void warn_of_old_version(std::string_view setting, Version min, std::vector<SettingMistake>& warnings);

}  // namespace pgveil::tls
