#include "tls/internal/file_kind.h"

#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <optional>
#include <string_view>

#include "tls/internal/openssl.h"

namespace pgveil::tls {
namespace {

// --- PEM ---

Content content_of_label(std::string_view label) {
  if (label == "CERTIFICATE" || label == "TRUSTED CERTIFICATE" || label == "X509 CERTIFICATE")
    return Content::certificate;
  if (label == "OPENSSH PRIVATE KEY") return Content::openssh_key;
  if (label.ends_with("PRIVATE KEY")) return Content::private_key;
  if (label.ends_with("CERTIFICATE REQUEST")) return Content::certificate_request;
  if (label == "X509 CRL") return Content::crl;
  if (label.ends_with("PUBLIC KEY")) return Content::public_key;
  if (label == "PKCS7" || label == "CMS" || label == "PKCS #7 SIGNED DATA") return Content::pkcs7;
  return Content::unknown;
}

// nullopt: there is no block.
std::optional<Content> content_of_pem(std::string_view text) {
  constexpr std::string_view kBegin = "-----BEGIN ", kEnd = "-----";
  std::optional<Content> content;
  for (;;) {
    const auto begin = text.find(kBegin);
    if (begin == std::string_view::npos) return content;
    text.remove_prefix(begin + kBegin.size());
    const auto label = text.substr(0, std::min(text.find(kEnd), text.size()));
    content = content_of_label(label);
    if (!label.ends_with("PARAMETERS")) return content;
  }
}

// --- DER ---

using Request = std::unique_ptr<X509_REQ, Freed<X509_REQ_free>>;
using Crl = std::unique_ptr<X509_CRL, Freed<X509_CRL_free>>;
using Pkcs7 = std::unique_ptr<PKCS7, Freed<PKCS7_free>>;
using Pkcs12 = std::unique_ptr<PKCS12, Freed<PKCS12_free>>;
using EncryptedKey = std::unique_ptr<X509_SIG, Freed<X509_SIG_free>>;

template <class Owner, class Read>
bool is_a(std::span<const unsigned char> bytes, Read* read) {
  const unsigned char* at = bytes.data();
  return Owner(read(nullptr, &at, static_cast<long>(bytes.size()))) != nullptr;
}

Content content_of_der(std::span<const unsigned char> bytes) {
  if (is_a<Certificate>(bytes, d2i_X509)) return Content::certificate;
  if (is_a<Request>(bytes, d2i_X509_REQ)) return Content::certificate_request;
  if (is_a<Crl>(bytes, d2i_X509_CRL)) return Content::crl;
  if (is_a<Pkcs12>(bytes, d2i_PKCS12)) return Content::pkcs12;
  if (is_a<Pkcs7>(bytes, d2i_PKCS7)) return Content::pkcs7;
  if (is_a<PrivateKey>(bytes, d2i_AutoPrivateKey)) return Content::private_key;
  if (is_a<EncryptedKey>(bytes, d2i_X509_SIG)) return Content::private_key;
  if (is_a<PrivateKey>(bytes, d2i_PUBKEY)) return Content::public_key;
  return Content::unknown;
}

// --- what to do ---

std::string_view name_of(Content content) {
  switch (content) {
    case Content::nothing: return "nothing";
    case Content::certificate: return "a certificate";
    case Content::private_key: return "a private key";
    case Content::certificate_request: return "a certificate signing request";
    case Content::crl: return "a CRL";
    case Content::public_key: return "a public key";
    case Content::openssh_key: return "a private key in the format of OpenSSH";
    case Content::pkcs7: return "PKCS #7";
    case Content::pkcs12: return "a PKCS #12 archive";
    case Content::unknown: break;
  }
  return "something else";
}

// A word for the shell.
std::string in_shell(const std::string& path) {
  const auto is_plain = [](unsigned char byte) {
    return std::isalnum(byte) != 0 || byte == '/' || byte == '.' || byte == '-' || byte == '_';
  };
  if (!path.empty() && std::all_of(path.begin(), path.end(), is_plain)) return path;
  std::string quoted = "'";
  for (const char byte : path) quoted += byte == '\'' ? std::string("'\\''") : std::string(1, byte);
  return quoted + '\'';
}

// `openssl COMMAND -in PATH -out PATH.pem`
std::string conversion(std::string_view command, const std::string& path) {
  return "Run \"openssl " + std::string(command) + " -in " + in_shell(path) + " -out " +
         in_shell(path + ".pem") + "\", and use that file.";
}

std::string_view command_from_der(Content content) {
  if (content == Content::crl) return "crl -inform DER";
  return content == Content::private_key ? "pkey -inform DER" : "x509 -inform DER";
}

std::string name_a_file_with(Content wanted) {
  switch (wanted) {
    case Content::private_key:
      return "Name the file that holds the private key of the certificate, as PEM or DER.";
    case Content::crl: return "Name a file that holds CRLs, as PEM.";
    default: return "Name a file that holds certificates, as PEM.";
  }
}

std::string remedy_for(const FileKind& kind, Content wanted, const std::string& path) {
  const bool wants_key = wanted == Content::private_key;
  switch (kind.content) {
    case Content::pkcs12:
      if (wanted == Content::crl) break;
      return conversion(wants_key ? "pkcs12 -nocerts -nodes" : "pkcs12 -nokeys", path);
    case Content::pkcs7:
      if (wants_key || wanted == Content::crl) break;
      return conversion(kind.is_pem ? "pkcs7 -print_certs" : "pkcs7 -inform DER -print_certs", path);
    case Content::openssh_key:
      if (!wants_key) break;
      return "Run \"ssh-keygen -p -m PEM -f " + in_shell(path) + "\", which changes the file to PEM.";
    case Content::certificate_request:
      if (wanted != Content::certificate) break;
      return "Name the certificate that the authority issued for this request; \"openssl req -noout -text -in " +
             in_shell(path) + "\" shows the request.";
    default: break;
  }
  return name_a_file_with(wanted);
}

// Of PEM of the right kind, which is damaged.
std::string remedy_for_damage(Content wanted, const std::string& path) {
  const std::string_view command = wanted == Content::crl           ? "crl"
                                   : wanted == Content::private_key ? "pkey"
                                                                    : "x509";
  return "Check it with \"openssl " + std::string(command) + " -noout -in " + in_shell(path) +
         "\"; if a block is damaged, get the file again.";
}

}  // namespace

FileKind kind_of(std::span<const unsigned char> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return {Content::nothing, false};
  if (const auto content = content_of_pem(text)) return {*content, true};
  const FileKind kind{content_of_der(bytes), false};
  ERR_clear_error();
  return kind;
}

FileFault fault_of(const FileKind& kind, Content wanted, const std::string& path,
                   const std::string& openssl_error) {
  const std::string wanted_name(name_of(wanted));
  if (kind.content == Content::nothing) return {"it is empty", name_a_file_with(wanted)};
  if (kind.content == Content::unknown)
    return {"it holds no PEM block of " + wanted_name, name_a_file_with(wanted)};
  if (kind.content == wanted && kind.is_pem) return {openssl_error, remedy_for_damage(wanted, path)};
  if (kind.content == wanted)
    return {"it is in DER format, not PEM", conversion(command_from_der(wanted), path)};
  return {"it holds " + std::string(name_of(kind.content)) + ", not " + wanted_name,
          remedy_for(kind, wanted, path)};
}

}  // namespace pgveil::tls
