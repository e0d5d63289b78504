#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include "tunnel.h"

static WOLFSSL* ssl;

static long result(int count, const char* what) {
  if (count > 0) return count;
  const int error = wolfSSL_get_error(ssl, count);
  if (error == WOLFSSL_ERROR_WANT_READ || error == WOLFSSL_ERROR_WANT_WRITE) return WOULD_BLOCK;
  if (error == WOLFSSL_ERROR_ZERO_RETURN) return END;
  char text[WOLFSSL_MAX_ERROR_SZ];
  die(what, wolfSSL_ERR_error_string((unsigned long)error, text));
}

void tls_start(const struct settings* settings) {
  key_updates_received = -1;
  wolfSSL_Init();
  WOLFSSL_CTX* context =
      wolfSSL_CTX_new(settings->is_server ? wolfTLSv1_3_server_method() : wolfTLSv1_3_client_method());
  if (settings->is_server) {
    if (wolfSSL_CTX_use_certificate_chain_file(context, settings->certificate) != WOLFSSL_SUCCESS ||
        wolfSSL_CTX_use_PrivateKey_file(context, settings->key, WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS)
      die("certificate", "not taken");
  } else if (wolfSSL_CTX_load_verify_locations(context, settings->authority, NULL) != WOLFSSL_SUCCESS) {
    die("authority", "not taken");
  }
  ssl = wolfSSL_new(context);
  wolfSSL_set_fd(ssl, settings->fd);
  if (!settings->is_server) {
    wolfSSL_UseSNI(ssl, WOLFSSL_SNI_HOST_NAME, "localhost", 9);
    wolfSSL_check_domain_name(ssl, "localhost");
  }
  const int done = settings->is_server ? wolfSSL_accept(ssl) : wolfSSL_connect(ssl);
  if (done != WOLFSSL_SUCCESS) result(done, "handshake");
  wolfSSL_set_using_nonblock(ssl, 1);
}

long tls_read(void* buffer, size_t size) {
  return result(wolfSSL_read(ssl, buffer, (int)size), "read");
}

long tls_write(const void* buffer, size_t size) {
  return result(wolfSSL_write(ssl, buffer, (int)size), "write");
}

long tls_rekey(void) {
  const int done = wolfSSL_update_keys(ssl);
  if (done == WOLFSSL_ERROR_WANT_WRITE) return WOULD_BLOCK;
  if (done != WOLFSSL_SUCCESS) return result(done, "rekey");
  ++key_updates_sent;
  return 1;
}

void tls_close(void) {
  wolfSSL_shutdown(ssl);
}

const char* tls_version(void) {
  return wolfSSL_get_version(ssl);
}
