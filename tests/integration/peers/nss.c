#include <nspr.h>
#include <nss.h>
#include <nss/cert.h>
#include <nss/certdb.h>
#include <nss/keyhi.h>
#include <nss/nssb64.h>
#include <nss/pk11pub.h>
#include <nss/ssl.h>
#include <nss/sslexp.h>
#include <nss/sslproto.h>
#include <private/pprio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tunnel.h"

static PRFileDesc* ssl;

static void check(int succeeded, const char* what) {
  if (!succeeded) die(what, PR_ErrorToName(PR_GetError()) ? PR_ErrorToName(PR_GetError()) : "unknown");
}

static long result(PRInt32 count, const char* what) {
  if (count >= 0) return count;
  if (PR_GetError() == PR_WOULD_BLOCK_ERROR) return WOULD_BLOCK;
  check(0, what);
  return END;
}

// The first thing in a PEM file.
static SECItem* der(const char* path) {
  static char text[16384];
  FILE* file = fopen(path, "r");
  if (file == NULL) die(path, "cannot be read");
  text[fread(text, 1, sizeof text - 1, file)] = '\0';
  fclose(file);
  char* begin = strchr(text, '\n');
  char* end = begin == NULL ? NULL : strstr(begin, "-----END");
  if (end == NULL) die(path, "is not PEM");
  return NSSBase64_DecodeBuffer(NULL, NULL, begin, (unsigned)(end - begin));
}

static CERTCertificate* certificate(const char* path) {
  CERTCertificate* made =
      CERT_NewTempCertificate(CERT_GetDefaultCertDB(), der(path), NULL, PR_FALSE, PR_TRUE);
  check(made != NULL, path);
  return made;
}

static void set_up_server(const struct settings* settings) {
  CERTCertificate* own = certificate(settings->certificate);
  SECKEYPublicKey* public_key = CERT_ExtractPublicKey(own);
  check(public_key != NULL, "public key");
  SECKEYPrivateKey* key = NULL;
  SECItem name = {siBuffer, (unsigned char*)"key", 3};
  check(PK11_ImportDERPrivateKeyInfoAndReturnKey(PK11_GetInternalKeySlot(), der(settings->key), &name,
                                                 &public_key->u.ec.publicValue, PR_FALSE, PR_FALSE, KU_ALL,
                                                 &key, NULL) == SECSuccess,
        "key");
  check(SSL_ConfigServerCert(ssl, own, key, NULL, 0) == SECSuccess, "certificate");
}

static void set_up_client(const struct settings* settings) {
  CERTCertTrust trust = {CERTDB_TRUSTED_CA | CERTDB_VALID_CA, 0, 0};
  check(CERT_ChangeCertTrust(CERT_GetDefaultCertDB(), certificate(settings->authority), &trust) == SECSuccess,
        "authority");
  check(SSL_SetURL(ssl, "localhost") == SECSuccess, "name");
}

void tls_start(const struct settings* settings) {
  key_updates_received = -1;
  check(NSS_NoDB_Init(NULL) == SECSuccess && NSS_SetDomesticPolicy() == SECSuccess, "NSS_NoDB_Init");
  ssl = SSL_ImportFD(NULL, PR_ImportTCPSocket(settings->fd));
  check(ssl != NULL, "SSL_ImportFD");
  const SSLVersionRange versions = {SSL_LIBRARY_VERSION_TLS_1_3, SSL_LIBRARY_VERSION_TLS_1_3};
  check(SSL_VersionRangeSet(ssl, &versions) == SECSuccess, "versions");
  SSL_OptionSet(ssl, SSL_SECURITY, PR_TRUE);
  if (settings->is_server) {
    SSL_ConfigServerSessionIDCache(0, 0, 0, "/tmp");
    set_up_server(settings);
  } else {
    set_up_client(settings);
  }
  check(SSL_ResetHandshake(ssl, settings->is_server) == SECSuccess, "SSL_ResetHandshake");
  check(SSL_ForceHandshake(ssl) == SECSuccess, "handshake");
  PRSocketOptionData option = {.option = PR_SockOpt_Nonblocking, .value = {.non_blocking = PR_TRUE}};
  check(PR_SetSocketOption(ssl, &option) == PR_SUCCESS, "nonblocking");
}

long tls_read(void* buffer, size_t size) {
  return result(PR_Read(ssl, buffer, (PRInt32)size), "read");
}

long tls_write(const void* buffer, size_t size) {
  return result(PR_Write(ssl, buffer, (PRInt32)size), "write");
}

long tls_rekey(void) {
  if (SSL_KeyUpdate(ssl, PR_TRUE) != SECSuccess) return result(-1, "rekey");
  ++key_updates_sent;
  return 1;
}

void tls_close(void) {
  PR_Shutdown(ssl, PR_SHUTDOWN_SEND);
}

const char* tls_version(void) {
  SSLChannelInfo info;
  check(SSL_GetChannelInfo(ssl, &info, sizeof info) == SECSuccess, "SSL_GetChannelInfo");
  return info.protocolVersion == SSL_LIBRARY_VERSION_TLS_1_3 ? "TLSv1.3" : "older";
}
