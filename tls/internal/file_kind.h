// What a file holds instead of the certificate, key or CRL that was expected, and how to get that from it.
// This header is internal to tls/.
#pragma once

#include <span>
#include <string>

namespace pgveil::tls {

enum class Content {
  nothing,  // no bytes, or only white space
  certificate,
  private_key,
  encrypted_key,
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
  bool is_pem = false;  // false: DER, if the content is known
  friend bool operator==(const FileKind&, const FileKind&) = default;
};

// Returns the kind of a file. Of a PEM file, the first block decides, but not a block of parameters of a key.
// Clears OpenSSL's error queue.
[[nodiscard]] FileKind kind_of(std::span<const unsigned char> bytes);
// Returns whether the content is a private key that OpenSSL may be able to read.
[[nodiscard]] bool is_key(Content content);

// What a file must hold. All but a private key must be PEM.
enum class Wanted { own_certificate, authorities, private_key, crls };

// Why a file cannot be loaded, and what to do, with the command that helps.
struct FileFault {
  std::string why;   // "it holds a private key, not a certificate"
  std::string hint;  // sentences
};
// Returns why a file with this content cannot be loaded. `openssl_error` is OpenSSL's error: it is the reason if the
// content is of the wanted kind, and no other fault is found. Clears OpenSSL's error queue.
[[nodiscard]] FileFault fault_of(std::span<const unsigned char> bytes, Wanted wanted, const std::string& path,
                                 const std::string& openssl_error);

}  // namespace pgveil::tls
