#include <errno.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#include <sys/socket.h>
#if MBEDTLS_VERSION_MAJOR >= 3
#include <psa/crypto.h>
#endif

#include "tunnel.h"

static mbedtls_ssl_context ssl;
static mbedtls_ctr_drbg_context drbg;
static mbedtls_entropy_context entropy;
static mbedtls_ssl_config config;
static mbedtls_x509_crt chain;
static mbedtls_pk_context key;

static long result(int count, const char* what) {
  if (count > 0) return count;
  if (count == MBEDTLS_ERR_SSL_WANT_READ || count == MBEDTLS_ERR_SSL_WANT_WRITE) return WOULD_BLOCK;
#ifdef MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET
  if (count == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) return WOULD_BLOCK;
#endif
  if (count == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) return END;
  char text[200] = "end without close_notify";
  if (count != 0) mbedtls_strerror(count, text, sizeof text);
  die(what, text);
}

static void check(int status, const char* what) {
  if (status != 0) result(status, what);
}

static int transfer_result(ssize_t count, int wanted) {
  return count >= 0 ? (int)count : errno == EAGAIN ? wanted : -1;
}

static int send_some(void* fd, const unsigned char* bytes, size_t size) {
  return transfer_result(send(*(int*)fd, bytes, size, MSG_NOSIGNAL), MBEDTLS_ERR_SSL_WANT_WRITE);
}

static int receive_some(void* fd, unsigned char* bytes, size_t size) {
  return transfer_result(recv(*(int*)fd, bytes, size, 0), MBEDTLS_ERR_SSL_WANT_READ);
}

void tls_start(const struct settings* settings) {
  static int fd;
  fd = settings->fd;
  key_updates_sent = key_updates_received = -1;
  mbedtls_ssl_init(&ssl);
  mbedtls_ssl_config_init(&config);
  mbedtls_ctr_drbg_init(&drbg);
  mbedtls_entropy_init(&entropy);
  mbedtls_x509_crt_init(&chain);
  mbedtls_pk_init(&key);
  check(mbedtls_ctr_drbg_seed(&drbg, mbedtls_entropy_func, &entropy, NULL, 0), "random numbers");
#if MBEDTLS_VERSION_MAJOR >= 3
  check((int)psa_crypto_init(), "psa_crypto_init");
#endif
  check(mbedtls_ssl_config_defaults(&config,
                                    settings->is_server ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
                                    MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT),
        "settings");
  mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &drbg);
  if (settings->is_server) {
    check(mbedtls_x509_crt_parse_file(&chain, settings->certificate), "certificate");
#if MBEDTLS_VERSION_MAJOR >= 3
    check(mbedtls_pk_parse_keyfile(&key, settings->key, NULL, mbedtls_ctr_drbg_random, &drbg), "key");
#else
    check(mbedtls_pk_parse_keyfile(&key, settings->key, NULL), "key");
#endif
    check(mbedtls_ssl_conf_own_cert(&config, &chain, &key), "certificate");
  } else {
    check(mbedtls_x509_crt_parse_file(&chain, settings->authority), "authority");
    mbedtls_ssl_conf_ca_chain(&config, &chain, NULL);
    mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_REQUIRED);
  }
  check(mbedtls_ssl_setup(&ssl, &config), "session");
  if (!settings->is_server) check(mbedtls_ssl_set_hostname(&ssl, "localhost"), "name");
  mbedtls_ssl_set_bio(&ssl, &fd, send_some, receive_some, NULL);
  check(mbedtls_ssl_handshake(&ssl), "handshake");
}

long tls_read(void* buffer, size_t size) {
  return result(mbedtls_ssl_read(&ssl, buffer, size), "read");
}

long tls_write(const void* buffer, size_t size) {
  return result(mbedtls_ssl_write(&ssl, buffer, size), "write");
}

long tls_rekey(void) {
  die("rekey", "it has no such function");
}

void tls_close(void) {
  mbedtls_ssl_close_notify(&ssl);
}

const char* tls_version(void) {
  return mbedtls_ssl_get_version(&ssl);
}
