#include "tls/own_certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <cstring>
#include <optional>

namespace pgveil::tls {
namespace {

std::string quoted(const std::string& path) {
  return "\"" + path + "\"";
}

struct Password {
  std::string_view text;
  bool asked = false;
};

// Where there is no password it answers that there is none, so that OpenSSL never prompts on a terminal.
// OpenSSL wipes `buffer` after use; no other copy is made.
int give_password(char* buffer, int size, int /*for_writing*/, void* argument) {
  auto& password = *static_cast<Password*>(argument);
  password.asked = true;
  if (password.text.empty() || password.text.size() > static_cast<std::size_t>(size)) return -1;
  std::memcpy(buffer, password.text.data(), password.text.size());
  return static_cast<int>(password.text.size());
}

SettingMistake encrypted_key_mistake(const OwnCertificate& own) {
  const std::string problem = "private key file " + quoted(own.key_file) + " is encrypted";
  const std::string key_setting(own.key_setting);
  if (own.password_setting.empty())
    return {key_setting, problem, "decrypt it with `openssl pkey -in KEY -out NEW_KEY`"};
  const std::string password_setting(own.password_setting);
  if (own.password.empty())
    return {key_setting, problem + ", and no " + password_setting + " is set", "set " + password_setting};
  return {key_setting, problem + ", and " + password_setting + " does not open it",
          "check " + password_setting};
}

// PEM first, then DER, as libpq (fe-secure-openssl.c: initialize_SSL). Of the two errors the one about PEM
// tells more.
PrivateKey read_key(const OwnCertificate& own, std::vector<SettingMistake>& mistakes) {
  if (auto mistake = check_key_file(own.key_file, own.key_setting, own.key_rule)) {
    mistakes.push_back(std::move(*mistake));
    return nullptr;
  }
  ERR_clear_error();
  Password password{own.password};
  const Bio file(BIO_new_file(own.key_file.c_str(), "rb"));
  PrivateKey key;
  if (file) key.reset(PEM_read_bio_PrivateKey(file.get(), nullptr, give_password, &password));
  const std::string pem_error = key ? "" : take_openssl_error();
  if (file && !key && !password.asked && BIO_seek(file.get(), 0) == 0)
    key.reset(d2i_PrivateKey_bio(file.get(), nullptr));
  ERR_clear_error();
  if (key) return key;
  if (password.asked) {
    mistakes.push_back(encrypted_key_mistake(own));
  } else {
    mistakes.push_back({std::string(own.key_setting),
                        "private key file " + quoted(own.key_file) + " cannot be loaded: " + pem_error,
                        "the file must hold the private key of the certificate, as PEM or DER"});
  }
  return nullptr;
}

bool load_chain(SSL_CTX* context, const OwnCertificate& own, std::vector<SettingMistake>& mistakes) {
  Password none;
  SSL_CTX_set_default_passwd_cb(context, give_password);
  SSL_CTX_set_default_passwd_cb_userdata(context, &none);
  ERR_clear_error();
  const bool loaded = SSL_CTX_use_certificate_chain_file(context, own.cert_file.c_str()) == 1;
  SSL_CTX_set_default_passwd_cb_userdata(context, nullptr);
  SSL_CTX_set_default_passwd_cb(context, nullptr);
  if (!loaded)
    mistakes.push_back(
        {std::string(own.cert_setting),
         "certificate file " + quoted(own.cert_file) + " cannot be loaded: " + take_openssl_error(),
         "the file must hold the certificate and its intermediates, as PEM, and be readable"});
  return loaded;
}

}  // namespace

void load_own_certificate(SSL_CTX* context, const OwnCertificate& own,
                          std::vector<SettingMistake>& mistakes) {
  const bool chain = load_chain(context, own, mistakes);
  const PrivateKey key = read_key(own, mistakes);
  if (!chain || !key) return;
  ERR_clear_error();
  if (X509_check_private_key(SSL_CTX_get0_certificate(context), key.get()) != 1) {
    mistakes.push_back({std::string(own.key_setting),
                        "certificate " + quoted(own.cert_file) + " does not match private key file " +
                            quoted(own.key_file) + ": " + take_openssl_error(),
                        "name the key that the certificate was issued for"});
  } else if (SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    mistakes.push_back(
        {std::string(own.key_setting),
         "private key file " + quoted(own.key_file) + " cannot be used: " + take_openssl_error(),
         "use an RSA, ECDSA or Ed25519 key of the strength that this system's OpenSSL asks for"});
  }
}

}  // namespace pgveil::tls
