#include "tls/version.h"

#include <openssl/crypto.h>

namespace pgveil::tls {

std::string openssl_version() {
  return OpenSSL_version(OPENSSL_VERSION);
}

}  // namespace pgveil::tls
