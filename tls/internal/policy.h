// The settings that contexts of both sides have in common. This header is internal to tls/.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "tls/credentials.h"
#include "tls/internal/openssl.h"
#include "tls/settings.h"

namespace pgveil::tls {

// Disables resumption, renegotiation and compression, allows partial writes, and lets an idle connection hold
// no buffers.
void set_common_policy(SSL_CTX* context, Version min, std::optional<Version> max);

// Warns if the minimum version is below TLS 1.2.
void warn_of_old_version(std::string_view setting, Version min, std::vector<SettingError>& warnings);

}  // namespace pgveil::tls
