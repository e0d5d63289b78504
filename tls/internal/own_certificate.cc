#include "tls/internal/own_certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sslerr.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <ctime>
#include <new>
#include <span>
#include <utility>

#include "tls/file_hint.h"
#include "tls/internal/certificate_values.h"
#include "tls/internal/file_content.h"
#include "tls/internal/file_kind.h"
#include "tls/internal/passphrase.h"
#include "tls/settings.h"

namespace pgveil::tls {
namespace {

SettingError setting_error(const CertificateFiles& files, std::string_view setting, std::string message,
                           std::string hint) {
  return {std::string(setting), std::move(message), std::move(hint), files.certificate};
}

// A request of OpenSSL for a passphrase, and its result.
struct Question {
  const Passphrase& passphrase;
  bool asked = false;
  std::string command_fault = {};
};

int answer_from_setting(std::string_view passphrase, std::span<char> buffer) {
  if (passphrase.empty() || passphrase.size() > buffer.size()) return -1;
  std::memcpy(buffer.data(), passphrase.data(), passphrase.size());
  return static_cast<int>(passphrase.size());
}

int answer_from_command(Question& question, std::span<char> buffer) {
  const auto size = run_passphrase_command(question.passphrase.value, buffer);
  if (size) return static_cast<int>(*size);
  question.command_fault = size.error();
  return -1;
}

// Returns -1 if there is no passphrase, so that OpenSSL never prompts on a terminal. OpenSSL wipes `buffer`
// after use; no other copy is made.
int answer(char* buffer, int size, int /*for_writing*/, void* argument) {
  auto& question = *static_cast<Question*>(argument);
  // The command is run only once per key: a second request means that its first output was wrong.
  const bool again = std::exchange(question.asked, true);
  const std::span<char> room(buffer, static_cast<std::size_t>(size));
  if (question.passphrase.value.empty()) return -1;
  if (question.passphrase.source == Passphrase::Source::setting)
    return answer_from_setting(question.passphrase.value, room);
  return again ? -1 : answer_from_command(question, room);
}

SettingError encrypted_key_error(const CertificateFiles& files, const Question& question) {
  const std::string setting(files.passphrase.setting);
  if (!question.command_fault.empty())
    return setting_error(files, setting, question.command_fault,
                         "Run it as the user of this process: it must print the passphrase of " +
                             in_quotes(files.key_file) + " and end with exit code 0.");
  const std::string message = "private key file " + in_quotes(files.key_file) + " is encrypted, and ";
  if (files.passphrase.value.empty())
    return setting_error(files, files.key_setting, message + "no " + setting + " is set",
                         "Set " + setting + ".");
  return setting_error(files, files.key_setting, message + setting + " does not open it",
                       "Check " + setting + ".");
}

SettingError unreadable(const CertificateFiles& files, std::string_view setting, const std::string& what,
                        const std::string& file, int error) {
  return setting_error(files, setting,
                       what + ' ' + in_quotes(file) + " cannot be read: " + std::strerror(error),
                       file_hint(file, error));
}

// Returns the error for a file that holds something else than a private key: its mode does not matter. nullopt: it may
// be a private key.
std::optional<SettingError> other_content(const CertificateFiles& files, const OpenFile& file) {
  const auto content = FileContent::read(file);
  if (!content) return std::nullopt;
  const Content held = kind_of(content->bytes()).content;
  if (is_key(held) || held == Content::unknown) return std::nullopt;
  const auto fault = fault_of(content->bytes(), Wanted::private_key, files.key_file, "");
  return setting_error(files, files.key_setting,
                       "private key file " + in_quotes(files.key_file) + " cannot be loaded: " + fault.why,
                       fault.hint);
}

// The file is opened only once, so that the checked owner and mode are those of the file that is read.
tl::expected<FileContent, SettingError> read_key_file(const CertificateFiles& files) {
  const auto failed = [&](int error) {
    return tl::unexpected(unreadable(files, files.key_setting, "private key file", files.key_file, error));
  };
  const auto file = OpenFile::open(files.key_file);
  if (!file) return failed(file.error());
  if (auto fault = check_key_file(file->status(), files.key_file, files.key_setting, files.key_rule)) {
    if (S_ISREG(file->status().st_mode))
      if (auto other = other_content(files, *file)) return tl::unexpected(*std::move(other));
    fault->certificate = files.certificate;
    return tl::unexpected(std::move(*fault));
  }
  auto content = FileContent::read(*file);
  if (!content) return failed(content.error());
  return *std::move(content);
}

struct LoadedKey {
  PrivateKey key = nullptr;
  bool is_encrypted = false;  // in its file
};

// Tries PEM first, then DER, as libpq does (fe-secure-openssl.c: initialize_SSL). If both fail, the error for
// PEM is reported, because it is more useful.
LoadedKey read_key(const CertificateFiles& files, std::vector<SettingError>& errors) {
  auto content = read_key_file(files);
  if (!content) {
    errors.push_back(std::move(content).error());
    return {};
  }
  ERR_clear_error();
  Question question{files.passphrase};
  PrivateKey key(PEM_read_bio_PrivateKey(content->bio().get(), nullptr, answer, &question));
  const std::string pem_error = key ? "" : take_openssl_error();
  if (!key && !question.asked) key.reset(d2i_PrivateKey_bio(content->bio().get(), nullptr));
  ERR_clear_error();
  if (key) return {std::move(key), question.asked};
  if (question.asked) {
    errors.push_back(encrypted_key_error(files, question));
  } else {
    const auto fault = fault_of(content->bytes(), Wanted::private_key, files.key_file, pem_error);
    errors.push_back(setting_error(
        files, files.key_setting,
        "private key file " + in_quotes(files.key_file) + " cannot be loaded: " + fault.why, fault.hint));
  }
  return {};
}

// Loads the leaf and the certificates after it, as SSL_CTX_use_certificate_chain_file() does with a file that
// it opens itself.
bool use_chain(SSL_CTX* chain, BIO* file, Question& question) {
  const Certificate leaf(PEM_read_bio_X509_AUX(file, nullptr, answer, &question));
  if (!leaf || SSL_CTX_use_certificate(chain, leaf.get()) != 1) return false;
  // Errors of the leaf must not be attributed to the certificates after it.
  ERR_clear_error();
  for (;;) {
    Certificate next(PEM_read_bio_X509(file, nullptr, answer, &question));
    if (!next) return is_end_of_pem();
    // Does the same as SSL_CTX_add0_chain_cert() without the macro's C cast.
    if (SSL_CTX_ctrl(chain, SSL_CTRL_CHAIN_CERT, 0, next.get()) != 1) return false;
    static_cast<void>(next.release());
  }
}

// Returns whether OpenSSL's last error is that a certificate of the chain is too weak for the security level.
bool is_too_weak() {
  const unsigned long error = ERR_peek_error();
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) return false;
  const int reason = ERR_GET_REASON(error);
  return reason == SSL_R_EE_KEY_TOO_SMALL || reason == SSL_R_CA_KEY_TOO_SMALL ||
         reason == SSL_R_CA_MD_TOO_WEAK;
}

// Returns the error for a certificate that is too weak for the security level `level` of OpenSSL. What a level asks
// for is from SSL_CTX_set_security_level(3) and NIST SP 800-57, part 1, tables 2 and 3.
SettingError weakness(const CertificateFiles& files, int level) {
  constexpr std::array kRsaBits{2048, 2048, 2048, 3072, 7680, 15'360};
  constexpr std::array kCurves{"P-256", "P-256", "P-256", "P-256", "P-384", "P-521"};
  constexpr std::array kHashes{"SHA-256", "SHA-256", "SHA-256", "SHA-256", "SHA-384", "SHA-512"};
  const auto row = static_cast<std::size_t>(std::clamp(level, 0, 5));
  const std::string curve = kCurves.at(row);
  return setting_error(
      files, files.cert_setting,
      "certificate file " + in_quotes(files.cert_file) + " cannot be used: " + take_openssl_error() +
          " for security level " + std::to_string(level) + " of OpenSSL",
      "Have the certificate issued for a key of " + curve + ", or of RSA with " +
          std::to_string(kRsaBits.at(row)) + " bits or more, and signed with " + kHashes.at(row) +
          ": \"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:" + curve +
          " -out new.key\" makes such a key.");
}

SettingError unusable_chain(const CertificateFiles& files, const FileContent& content, int level) {
  if (is_too_weak()) return weakness(files, level);
  const std::string error = take_openssl_error();
  const auto fault = fault_of(content.bytes(), Wanted::own_certificate, files.cert_file, error);
  return setting_error(files, files.cert_setting,
                       "certificate file " + in_quotes(files.cert_file) + " cannot be loaded: " + fault.why,
                       fault.hint);
}

// Reads the chain into a context that has no other use, because OpenSSL checks the chain of a context.
SslContext read_chain(const SSL_CTX* context, const CertificateFiles& files,
                      std::vector<SettingError>& errors) {
  const auto content = FileContent::read(files.cert_file);
  if (!content) {
    errors.push_back(
        unreadable(files, files.cert_setting, "certificate file", files.cert_file, content.error()));
    return nullptr;
  }
  ERR_clear_error();
  SslContext chain(SSL_CTX_new(TLS_method()));
  if (!chain) throw std::bad_alloc();
  const Passphrase none{Passphrase::Source::setting, {}, {}};
  Question question{none};
  const int level = SSL_CTX_get_security_level(context);
  SSL_CTX_set_security_level(chain.get(), level);
  if (use_chain(chain.get(), content->bio().get(), question)) return chain;
  errors.push_back(unusable_chain(files, *content, level));
  return nullptr;
}

// Returns whether each of the two files holds what the other one should hold.
bool are_exchanged(const CertificateFiles& files) {
  const auto content_of = [](const std::string& path) {
    const auto bytes = FileContent::read(path);
    return bytes ? kind_of(bytes->bytes()).content : Content::unknown;
  };
  return is_key(content_of(files.cert_file)) && content_of(files.key_file) == Content::certificate;
}

SettingError exchange(const CertificateFiles& files) {
  const std::string cert(files.cert_setting);
  const std::string key(files.key_setting);
  return setting_error(
      files, files.cert_setting,
      in_quotes(files.cert_file) + " holds a private key, and " + in_quotes(files.key_file) + " of " + key +
          " holds a certificate",
      "Exchange the two files: " + cert + " is the certificate, and " + key + " is its private key.");
}

// Completes a chain that consists of the leaf only, with the intermediates among the certificates that `context`
// trusts. PostgreSQL and libpq let OpenSSL do the same for each connection, with the root. The root is not sent: a peer
// that does not have it does not trust it. If there are no intermediates, or the chain has a fault, only the leaf is
// sent, and the peer decides.
void complete(SSL_CTX* chain, const SSL_CTX* context) {
  // Does the same as SSL_CTX_set1_chain_cert_store() and SSL_CTX_build_cert_chain() without the macros' C
  // casts.
  SSL_CTX_ctrl(chain, SSL_CTRL_SET_CHAIN_CERT_STORE, 1, SSL_CTX_get_cert_store(context));
  SSL_CTX_ctrl(chain, SSL_CTRL_BUILD_CERT_CHAIN,
               SSL_BUILD_CHAIN_FLAG_NO_ROOT | SSL_BUILD_CHAIN_FLAG_IGNORE_ERROR, nullptr);
  ERR_clear_error();
}

// Returns the certificates after the leaf. They belong to `chain`; may be null.
STACK_OF(X509) * intermediates_of(SSL_CTX* chain) {
  STACK_OF(X509)* intermediates = nullptr;
  SSL_CTX_get0_chain_certs(chain, &intermediates);
  return intermediates;
}

// Returns the place in the file, from 2 on, of the certificate that belongs to `key`; 0: there is none.
int place_of_leaf(SSL_CTX* chain, EVP_PKEY* key) {
  STACK_OF(X509)* intermediates = intermediates_of(chain);
  int place = 0;
  for (int i = 0; i < sk_X509_num(intermediates) && place == 0; ++i)
    if (X509_check_private_key(sk_X509_value(intermediates, i), key) == 1) place = i + 2;
  ERR_clear_error();
  return place;
}

SettingError mismatch(SSL_CTX* chain, EVP_PKEY* key, const CertificateFiles& files) {
  const std::string error = take_openssl_error();
  if (const int place = place_of_leaf(chain, key); place > 0)
    return setting_error(
        files, files.cert_setting,
        "certificate file " + in_quotes(files.cert_file) + " is in the wrong order: the certificate of " +
            in_quotes(files.key_file) + " is number " + std::to_string(place),
        "Put that certificate first, then the one that issued it, and so on; leave out the root.");
  return setting_error(files, files.key_setting,
                       "certificate " + in_quotes(files.cert_file) + " does not match private key file " +
                           in_quotes(files.key_file) + ": " + error,
                       "Name the key that the certificate was issued for: \"openssl x509 -noout -pubkey -in "
                       "CERTIFICATE\" and \"openssl pkey -pubout -in KEY\" print the same then.");
}

// The pair as `chain` would serve it, completed with what `context` trusts.
std::optional<OwnCertificate> pair_of(SSL_CTX* chain, const SSL_CTX* context, LoadedKey loaded,
                                      const CertificateFiles& files, std::vector<SettingError>& errors) {
  PrivateKey& key = loaded.key;
  ERR_clear_error();
  X509* leaf = SSL_CTX_get0_certificate(chain);
  if (X509_check_private_key(leaf, key.get()) != 1) {
    errors.push_back(mismatch(chain, key.get(), files));
    return std::nullopt;
  }
  if (SSL_CTX_use_PrivateKey(chain, key.get()) != 1) {
    errors.push_back(setting_error(
        files, files.key_setting,
        "private key file " + in_quotes(files.key_file) + " cannot be used: " + take_openssl_error(),
        "Use an RSA, ECDSA or Ed25519 key of the strength that this system's OpenSSL asks for."));
    return std::nullopt;
  }
  if (sk_X509_num(intermediates_of(chain)) <= 0) complete(chain, context);
  STACK_OF(X509)* intermediates = intermediates_of(chain);
  X509_up_ref(leaf);
  return OwnCertificate{
      Certificate(leaf),
      CertificateChain(intermediates == nullptr ? nullptr : X509_chain_up_ref(intermediates)), std::move(key),
      loaded.is_encrypted};
}

// Returns text about the validity period; empty if there is no problem.
std::string fault_in_time(X509* certificate, std::int64_t now) {
  const auto begins = seconds_since_1970(X509_get0_notBefore(certificate));
  const auto ends = seconds_since_1970(X509_get0_notAfter(certificate));
  if (now < begins) return "is not valid before " + utc_text(begins);
  if (now > ends) return "expired on " + utc_text(ends);
  if (now > ends - std::chrono::seconds(kExpiryNotice).count()) return "expires on " + utc_text(ends);
  return {};
}

bool has_issued(X509* issuer, X509* certificate) {
  return X509_check_issued(issuer, certificate) == X509_V_OK;
}

bool has_issuer(X509* certificate, STACK_OF(X509) * chain) {
  bool found = false;
  for (int i = 0; i < sk_X509_num(chain) && !found; ++i) {
    X509* other = sk_X509_value(chain, i);
    found = other != certificate && has_issued(other, certificate);
  }
  ERR_clear_error();
  return found;
}

}  // namespace

std::optional<OwnCertificate> load_own_certificate(const SSL_CTX* context, const CertificateFiles& files,
                                                   std::vector<SettingError>& errors) {
  const auto known = errors.size();
  const SslContext chain = read_chain(context, files, errors);
  LoadedKey loaded = read_key(files, errors);
  if (!chain && !loaded.key && are_exchanged(files)) {
    errors.erase(errors.begin() + static_cast<std::ptrdiff_t>(known), errors.end());
    errors.push_back(exchange(files));
  }
  if (!chain || !loaded.key) return std::nullopt;
  return pair_of(chain.get(), context, std::move(loaded), files, errors);
}

void use(SSL_CTX* context, const OwnCertificate& own) {
  // load_own_certificate() has already used it, so only lack of memory can make this fail.
  if (SSL_CTX_use_cert_and_key(context, own.leaf.get(), own.key.get(), own.chain.get(), 1) != 1)
    throw std::bad_alloc();
}

bool use(SSL* ssl, const OwnCertificate& own) {
  SSL_certs_clear(ssl);
  return SSL_use_cert_and_key(ssl, own.leaf.get(), own.key.get(), own.chain.get(), 1) == 1;
}

void warn_of_unused_passphrase(const OwnCertificate& own, const CertificateFiles& files,
                               std::vector<SettingError>& warnings) {
  if (own.key_is_encrypted || files.passphrase.value.empty()) return;
  warnings.push_back(
      setting_error(files, files.passphrase.setting,
                    "has no effect: private key file " + in_quotes(files.key_file) + " is not encrypted",
                    "Remove it, or encrypt the key."));
}

void warn_of_expiry(const OwnCertificate& own, const CertificateFiles& files,
                    std::vector<SettingError>& warnings) {
  const std::int64_t now = std::time(nullptr);
  const auto check = [&](X509* certificate) {
    const std::string fault = fault_in_time(certificate, now);
    if (fault.empty()) return;
    warnings.push_back(setting_error(
        files, files.cert_setting,
        "the certificate " + holder_of(certificate) + " in " + in_quotes(files.cert_file) + ' ' + fault,
        "Have it renewed, then reload pgveil."));
  };
  check(own.leaf.get());
  for (int i = 0; i < sk_X509_num(own.chain.get()); ++i) check(sk_X509_value(own.chain.get(), i));
}

void warn_of_order(const OwnCertificate& own, const CertificateFiles& files,
                   std::vector<SettingError>& warnings) {
  for (int i = 0; i < sk_X509_num(own.chain.get()); ++i) {
    X509* before = i == 0 ? own.leaf.get() : sk_X509_value(own.chain.get(), i - 1);
    if (has_issued(sk_X509_value(own.chain.get(), i), before)) continue;
    if (!has_issuer(before, own.chain.get())) continue;
    warnings.push_back(setting_error(
        files, files.cert_setting,
        "certificate file " + in_quotes(files.cert_file) +
            " is in the wrong order: the certificate after the one " + holder_of(before) +
            " is not the one that issued it, and some clients refuse such a chain",
        "Put the certificate of the private key first, then the one that issued it, and so on."));
    return;
  }
}

void warn_of_purpose(const OwnCertificate& own, const CertificateFiles& files, Purpose purpose,
                     std::vector<SettingError>& warnings) {
  const bool is_client = purpose == Purpose::client;
  const int id = is_client ? X509_PURPOSE_SSL_CLIENT : X509_PURPOSE_SSL_SERVER;
  if (X509_check_purpose(own.leaf.get(), id, 0) == 1) return;
  ERR_clear_error();
  const std::string peer = is_client ? "a server that checks client certificates" : "a client that checks it";
  warnings.push_back(setting_error(
      files, files.cert_setting,
      "the certificate " + holder_of(own.leaf.get()) + " in " + in_quotes(files.cert_file) +
          " is not for TLS " + (is_client ? "clients" : "servers") +
          ", by its extended key usage or key usage: " + peer + " refuses it",
      std::string("Have one issued with the extended key usage ") +
          (is_client ? "clientAuth. Public authorities issue serverAuth only." : "serverAuth.")));
}

}  // namespace pgveil::tls
