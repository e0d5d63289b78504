#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "tunnel.h"

static SSL* ssl;

static void fail(const char* what) {
  char text[256] = "end without close_notify";
  if (ERR_peek_error() != 0) ERR_error_string_n(ERR_get_error(), text, sizeof text);
  die(what, text);
}

static long result(int count, const char* what) {
  if (count > 0) return count;
  switch (SSL_get_error(ssl, count)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return WOULD_BLOCK;
    case SSL_ERROR_ZERO_RETURN: return END;
    default: fail(what); return END;
  }
}

static void count(int is_sent, int version, int type, const void* bytes, size_t size, SSL* of,
                  void* nothing) {
  (void)version, (void)size, (void)of, (void)nothing;
  if (type != SSL3_RT_HANDSHAKE || *(const unsigned char*)bytes != SSL3_MT_KEY_UPDATE) return;
  ++*(is_sent ? &key_updates_sent : &key_updates_received);
}

void tls_start(const struct settings* settings) {
  SSL_CTX* context = SSL_CTX_new(TLS_method());
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_msg_callback(context, count);
  if (settings->is_server) {
    if (SSL_CTX_use_certificate_chain_file(context, settings->certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, settings->key, SSL_FILETYPE_PEM) != 1)
      fail("certificate");
  } else {
    if (SSL_CTX_load_verify_file(context, settings->authority) != 1) fail("authority");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
  }
  ssl = SSL_new(context);
  SSL_set_fd(ssl, settings->fd);
  if (!settings->is_server &&
      (SSL_set_tlsext_host_name(ssl, "localhost") != 1 ||
       X509_VERIFY_PARAM_set1_host(SSL_get0_param(ssl), "localhost", 0) != 1))
    fail("name");
  if ((settings->is_server ? SSL_accept(ssl) : SSL_connect(ssl)) != 1) fail("handshake");
}

long tls_read(void* buffer, size_t size) {
  ERR_clear_error();
  return result(SSL_read(ssl, buffer, (int)size), "read");
}

long tls_write(const void* buffer, size_t size) {
  ERR_clear_error();
  return result(SSL_write(ssl, buffer, (int)size), "write");
}

long tls_rekey(void) {
  ERR_clear_error();
  if (SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) != 1) {
    if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_BAD_WRITE_RETRY) return WOULD_BLOCK;
    fail("rekey");
  }
  // Or with the next write.
  result(SSL_do_handshake(ssl), "rekey");
  return 1;
}

void tls_close(void) {
  SSL_shutdown(ssl);
}

const char* tls_version(void) {
  return SSL_get_version(ssl);
}
