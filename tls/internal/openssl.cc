#include "tls/internal/openssl.h"

#include <openssl/err.h>

#include <cstring>

namespace pgveil::tls {

std::string take_openssl_error() {
  const unsigned long code = ERR_get_error();
  std::string text;
  if (code != 0) {
    // ERR_reason_error_string() has no text for system errors (be-secure-openssl.c: SSLerrmessage).
    if (const char* reason = ERR_reason_error_string(code)) {
      text = reason;
    } else if (ERR_SYSTEM_ERROR(code)) {
      text = std::strerror(ERR_GET_REASON(code));
    } else {
      text = "OpenSSL error " + std::to_string(code);
    }
  }
  ERR_clear_error();
  return text;
}

}  // namespace pgveil::tls
