// What a file holds in place of the certificate, key or CRL that was expected, and how to get that from it.
// For the .cc files of this layer only.
#pragma once

#include <span>
#include <string>

namespace pgveil::tls {

enum class Content {
  nothing,  // no bytes, or blanks only
  certificate,
  private_key,  // also encrypted
  certificate_request,
  crl,
  public_key,
  openssh_key,  // a private key in the format of OpenSSH
  pkcs7,
  pkcs12,
  unknown,
};
struct FileKind {
  Content content = Content::unknown;
  bool is_pem = false;  // otherwise DER, if the content is known
  friend bool operator==(const FileKind&, const FileKind&) = default;
};

// Of a PEM file, what its first block holds, except for parameters of a key. Leaves OpenSSL's queue of errors
// empty.
[[nodiscard]] FileKind kind_of(std::span<const unsigned char> bytes);

// Why a file of this kind cannot be loaded where PEM blocks of `wanted` are needed, and what to do, with the
// command that helps.
struct FileFault {
  std::string why;   // "it holds a private key, not a certificate"
  std::string hint;  // sentences
};
// `wanted` is certificate, private_key or crl. `openssl_error` says what is wrong if the kind is the wanted one.
[[nodiscard]] FileFault fault_of(const FileKind& kind, Content wanted, const std::string& path,
                                 const std::string& openssl_error);

}  // namespace pgveil::tls
