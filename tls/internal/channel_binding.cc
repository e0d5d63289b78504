#include "tls/internal/channel_binding.h"

#include <openssl/err.h>

#include <array>

namespace pgveil::tls {

std::optional<std::vector<std::uint8_t>> server_end_point_of(X509* certificate) {
  // OBJ_find_sigid_algs() does not know the digest of RSA-PSS, which is in the parameters of the signature.
  int digest_id = NID_undef;
  if (X509_get_signature_info(certificate, &digest_id, nullptr, nullptr, nullptr) != 1) digest_id = NID_undef;
  if (digest_id == NID_md5 || digest_id == NID_sha1) digest_id = NID_sha256;

  const EVP_MD* digest = digest_id == NID_undef ? nullptr : EVP_get_digestbynid(digest_id);
  std::array<std::uint8_t, EVP_MAX_MD_SIZE> hash{};
  unsigned int size = 0;
  if (digest == nullptr || X509_digest(certificate, digest, hash.data(), &size) != 1) {
    ERR_clear_error();
    return std::nullopt;
  }
  return std::vector<std::uint8_t>(hash.begin(), hash.begin() + size);
}

}  // namespace pgveil::tls
