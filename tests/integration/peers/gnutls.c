#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "tunnel.h"

static gnutls_session_t session;

static void check(int status, const char* what) {
  if (status < 0) die(what, gnutls_strerror(status));
}

static long result(long count, const char* what) {
  if (count >= 0) return count;
  if (count == GNUTLS_E_AGAIN || count == GNUTLS_E_INTERRUPTED) return WOULD_BLOCK;
  check((int)count, what);
  return END;
}

static int count(gnutls_session_t of, unsigned type, unsigned when, unsigned incoming,
                 const gnutls_datum_t* message) {
  (void)of, (void)type, (void)when, (void)message;
  ++*(incoming ? &key_updates_received : &key_updates_sent);
  return 0;
}

void tls_start(const struct settings* settings) {
  gnutls_certificate_credentials_t credentials;
  check(gnutls_certificate_allocate_credentials(&credentials), "credentials");
  check(gnutls_init(&session, settings->is_server ? GNUTLS_SERVER : GNUTLS_CLIENT), "session");
  check(gnutls_priority_set_direct(session, "NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL), "priorities");
  if (settings->is_server) {
    check(gnutls_certificate_set_x509_key_file(credentials, settings->certificate, settings->key,
                                               GNUTLS_X509_FMT_PEM),
          "certificate");
  } else {
    check(gnutls_certificate_set_x509_trust_file(credentials, settings->authority, GNUTLS_X509_FMT_PEM),
          "authority");
    check(gnutls_server_name_set(session, GNUTLS_NAME_DNS, "localhost", 9), "name");
    gnutls_session_set_verify_cert(session, "localhost", 0);
  }
  check(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials), "credentials");
  gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_KEY_UPDATE, GNUTLS_HOOK_POST, count);
  gnutls_transport_set_int(session, settings->fd);
  int status;
  do status = gnutls_handshake(session);
  while (status < 0 && gnutls_error_is_fatal(status) == 0);
  check(status, "handshake");
}

long tls_read(void* buffer, size_t size) {
  return result(gnutls_record_recv(session, buffer, size), "read");
}

long tls_write(const void* buffer, size_t size) {
  return result(gnutls_record_send(session, buffer, size), "write");
}

// tunnel.c asks only if no write is half done.
long tls_rekey(void) {
  return result(gnutls_session_key_update(session, GNUTLS_KU_PEER), "rekey") < 0 ? WOULD_BLOCK : 1;
}

void tls_close(void) {
  gnutls_bye(session, GNUTLS_SHUT_WR);
}

const char* tls_version(void) {
  return gnutls_protocol_get_name(gnutls_protocol_get_version(session));
}
