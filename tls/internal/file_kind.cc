#include "tls/internal/file_kind.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pkcs12.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "tls/credentials.h"
#include "tls/internal/openssl.h"

namespace pgveil::tls {
namespace {

// --- PEM ---

Content content_of_label(std::string_view label) {
  if (label == "CERTIFICATE" || label == "TRUSTED CERTIFICATE" || label == "X509 CERTIFICATE")
    return Content::certificate;
  if (label == "OPENSSH PRIVATE KEY") return Content::openssh_key;
  if (label == "ENCRYPTED PRIVATE KEY") return Content::encrypted_key;
  if (label.ends_with("PRIVATE KEY")) return Content::private_key;
  if (label.ends_with("CERTIFICATE REQUEST")) return Content::certificate_request;
  if (label == "X509 CRL") return Content::crl;
  if (label.ends_with("PUBLIC KEY")) return Content::public_key;
  if (label == "PKCS7" || label == "CMS" || label == "PKCS #7 SIGNED DATA") return Content::pkcs7;
  return Content::unknown;
}

constexpr std::string_view kBegin = "-----BEGIN ";
constexpr std::string_view kEnd = "-----END ";
constexpr std::string_view kDashes = "-----";

struct PemBlock {
  std::size_t begin;  // of the BEGIN line, in the text
  std::string_view label;
  std::string_view rest;  // the text after the BEGIN line
};

// Returns the first block that begins at `from` or later; nullopt: there is none.
std::optional<PemBlock> next_block(std::string_view text, std::size_t from) {
  const auto begin = text.find(kBegin, from);
  if (begin == std::string_view::npos) return std::nullopt;
  const auto label = begin + kBegin.size();
  const auto end = std::min(text.find(kDashes, label), text.size());
  return PemBlock{begin, text.substr(label, end - label),
                  text.substr(std::min(end + kDashes.size(), text.size()))};
}

// nullopt: there is no block.
std::optional<Content> content_of_pem(std::string_view text) {
  std::optional<Content> content;
  for (auto block = next_block(text, 0); block; block = next_block(text, block->begin + kBegin.size())) {
    content = content_of_label(block->label);
    if (!block->label.ends_with("PARAMETERS")) break;
  }
  return content;
}

bool is_space(unsigned char byte) {
  return std::isspace(byte) != 0;
}

bool is_base64(std::string_view body) {
  std::size_t digits = 0, padding = 0;
  for (const char c : body) {
    const auto byte = static_cast<unsigned char>(c);
    if (is_space(byte)) continue;
    if (c == '=')
      ++padding;
    else if (padding == 0 && (std::isalnum(byte) != 0 || c == '+' || c == '/'))
      ++digits;
    else
      return false;
  }
  return padding <= 2 && (digits + padding) % 4 == 0;
}

// Removes the headers of an encrypted key (RFC 1421), which end with an empty line.
std::string_view without_headers(std::string_view body) {
  if (body.find(':') == std::string_view::npos) return body;
  for (const std::string_view empty_line : {"\n\n", "\r\n\r\n"})
    if (const auto end = body.find(empty_line); end != std::string_view::npos) return body.substr(end);
  return body;
}

// Returns what is wrong with the text of a block; empty: nothing.
std::string_view damage_of(std::string_view text, const PemBlock& block) {
  if (block.begin > 0 && text[block.begin - 1] != '\n' && text[block.begin - 1] != '\r')
    return "BEGIN is not at the start of the line";
  const std::string end_line = std::string(kEnd).append(block.label).append(kDashes);
  const auto end = block.rest.find(end_line);
  if (end == std::string_view::npos || block.rest.find(kBegin) < end) return "no END line";
  return is_base64(without_headers(block.rest.substr(0, end))) ? "" : "invalid base64";
}

// --- DER ---

using Request = std::unique_ptr<X509_REQ, Freed<X509_REQ_free>>;
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
  if (is_a<EncryptedKey>(bytes, d2i_X509_SIG)) return Content::encrypted_key;
  if (is_a<PrivateKey>(bytes, d2i_PUBKEY)) return Content::public_key;
  return Content::unknown;
}

// --- what to do ---

std::string_view name_of(Content content) {
  switch (content) {
    case Content::nothing: return "nothing";
    case Content::certificate: return "a certificate";
    case Content::private_key: return "a private key";
    case Content::encrypted_key: return "an encrypted private key";
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

bool is_wanted(Content content, Wanted wanted) {
  switch (wanted) {
    case Wanted::own_certificate:
    case Wanted::authorities: return content == Content::certificate;
    case Wanted::private_key: return is_key(content);
    case Wanted::crls: return content == Content::crl;
  }
  return false;
}

std::string_view name_of(Wanted wanted) {
  switch (wanted) {
    case Wanted::private_key: return name_of(Content::private_key);
    case Wanted::crls: return name_of(Content::crl);
    default: return name_of(Content::certificate);
  }
}

// Returns the path as one word for the shell.
std::string in_shell(const std::string& path) {
  const auto is_plain = [](unsigned char byte) {
    return std::isalnum(byte) != 0 || byte == '/' || byte == '.' || byte == '-' || byte == '_';
  };
  if (!path.empty() && std::all_of(path.begin(), path.end(), is_plain)) return path;
  std::string quoted = "'";
  for (const char byte : path) quoted += byte == '\'' ? std::string("'\\''") : std::string(1, byte);
  return quoted + '\'';
}

// Returns `"openssl COMMAND -in PATH -out OUTPUT"`.
std::string command_line(std::string_view command, const std::string& path, const std::string& output) {
  return "\"openssl " + std::string(command) + " -in " + in_shell(path) + " -out " + in_shell(output) + '"';
}

std::string conversion(std::string_view command, const std::string& path) {
  return "Run " + command_line(command, path, path + ".pem") + ", and use that file.";
}

// A PKCS #12 archive holds a certificate and its key. pgveil needs a file of each.
std::string conversion_of_archive(const std::string& path) {
  const std::string certificate = path + ".crt", key = path + ".key";
  return "Run " + command_line("pkcs12 -nokeys", path, certificate) + " and " +
         command_line("pkcs12 -nocerts -nodes", path, key) + ", and use " + in_quotes(certificate) +
         " as the certificate and " + in_quotes(key) + " as its private key.";
}

std::string_view command_from_der(Content content) {
  switch (content) {
    case Content::crl: return "crl -inform DER";
    case Content::private_key: return "pkey -inform DER";
    case Content::encrypted_key: return "pkey -inform DER -aes256";
    default: return "x509 -inform DER";
  }
}

std::string name_a_file_with(Wanted wanted) {
  switch (wanted) {
    case Wanted::private_key:
      return "Name the file that holds the private key of the certificate, as PEM or DER.";
    case Wanted::crls: return "Name a file that holds CRLs, as PEM.";
    default: return "Name a file that holds certificates, as PEM.";
  }
}

// Returns whether a key in the format of OpenSSH is an Ed25519 key (OpenSSH's PROTOCOL.key). Its type is among the
// first 96 bytes, and no secret is.
bool is_ed25519_of_openssh(std::string_view text) {
  constexpr std::size_t kDigits = 128;
  const auto block = next_block(text, 0);
  std::string digits;
  for (const char c : block ? block->rest : "") {
    if (digits.size() == kDigits || c == '-') break;
    if (!is_space(static_cast<unsigned char>(c))) digits += c;
  }
  std::string bytes(digits.size(), '\0');
  const int size =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                      reinterpret_cast<const unsigned char*>(digits.data()), static_cast<int>(digits.size()));
  return size > 0 && bytes.find("ssh-ed25519") != std::string::npos;
}

std::string remedy_for_openssh_key(std::string_view text, const std::string& path) {
  if (!is_ed25519_of_openssh(text))
    return "Run \"ssh-keygen -p -m PEM -f " + in_shell(path) + "\", which changes the file to PEM.";
  return "ssh-keygen cannot convert an Ed25519 key. Make a new key with \"openssl genpkey -algorithm EC -pkeyopt "
         "ec_paramgen_curve:P-256 -out new.key\", and have a certificate issued for it.";
}

std::string remedy_for(const FileKind& kind, std::string_view text, Wanted wanted, const std::string& path) {
  const bool wants_certificate = wanted == Wanted::own_certificate || wanted == Wanted::authorities;
  switch (kind.content) {
    case Content::pkcs12:
      if (wanted == Wanted::crls) break;
      return wanted == Wanted::authorities ? conversion("pkcs12 -nokeys", path) : conversion_of_archive(path);
    case Content::pkcs7:
      if (!wants_certificate) break;
      return conversion(kind.is_pem ? "pkcs7 -print_certs" : "pkcs7 -inform DER -print_certs", path);
    case Content::openssh_key:
      if (wanted == Wanted::private_key) return remedy_for_openssh_key(text, path);
      break;
    case Content::certificate_request:
      if (!wants_certificate) break;
      return "Name the certificate that the authority issued for this request; \"openssl req -noout -text -in " +
             in_shell(path) + "\" shows the request.";
    default: break;
  }
  return name_a_file_with(wanted);
}

// Returns what to do about a PEM file of the wanted kind that OpenSSL cannot read.
std::string remedy_for_openssl_error(Wanted wanted, const std::string& path) {
  const std::string_view command = wanted == Wanted::crls          ? "crl"
                                   : wanted == Wanted::private_key ? "pkey"
                                                                   : "x509";
  return "Check it with \"openssl " + std::string(command) + " -noout -in " + in_shell(path) +
         "\"; if a block is damaged, get the file again.";
}

// Returns the fault of the first block of the wanted kind whose text is damaged; nullopt: there is none.
std::optional<FileFault> damage_in(std::string_view text, Wanted wanted) {
  for (auto block = next_block(text, 0); block; block = next_block(text, block->begin + kBegin.size())) {
    if (!is_wanted(content_of_label(block->label), wanted)) continue;
    const auto damage = damage_of(text, *block);
    if (damage.empty()) continue;
    const auto line =
        1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(block->begin), '\n');
    return FileFault{
        "the PEM block in line " + std::to_string(line) + " is damaged (" + std::string(damage) + ')',
        "Get the file again, and copy it as a whole."};
  }
  return std::nullopt;
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

bool is_key(Content content) {
  return content == Content::private_key || content == Content::encrypted_key;
}

FileFault fault_of(std::span<const unsigned char> bytes, Wanted wanted, const std::string& path,
                   const std::string& openssl_error) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (auto damage = damage_in(text, wanted)) return *std::move(damage);
  const FileKind kind = kind_of(bytes);
  const std::string wanted_name(name_of(wanted));
  if (kind.content == Content::nothing) return {"it is empty", name_a_file_with(wanted)};
  if (kind.content == Content::unknown)
    return {"it holds no PEM block of " + wanted_name, name_a_file_with(wanted)};
  if (is_wanted(kind.content, wanted)) {
    if (kind.is_pem) return {openssl_error, remedy_for_openssl_error(wanted, path)};
    const std::string encrypted = kind.content == Content::encrypted_key ? "it is encrypted and " : "it is ";
    return {encrypted + "in DER format, not PEM", conversion(command_from_der(kind.content), path)};
  }
  const bool is_openssh_key = kind.content == Content::openssh_key && wanted == Wanted::private_key;
  return {"it holds " + std::string(name_of(kind.content)) +
              (is_openssh_key ? ", which OpenSSL cannot read" : ", not " + wanted_name),
          remedy_for(kind, text, wanted, path)};
}

}  // namespace pgveil::tls
