// A TLS tunnel in C, for the TLS libraries that have an API of C: tunnel.c has the sockets, and one other
// file has the library. Its arguments and what it prints are those of all peers (harness/tls_peers.py).
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { WOULD_BLOCK = -1, END = 0 };

// KeyUpdates of TLS 1.3; -1 if the library does not tell of them.
extern long key_updates_sent, key_updates_received;

struct settings {
  int fd;  // connected; blocking until tls_start() returns, non-blocking then
  int is_server;
  const char* certificate;  // PEM files; those of a server
  const char* key;
  const char* authority;  // what a client trusts, for "localhost"
};

// Does the handshake. Any failure ends the program with die().
void tls_start(const struct settings* settings);
// The bytes that were read or written, or WOULD_BLOCK, or END (close_notify).
long tls_read(void* buffer, size_t size);
long tls_write(const void* buffer, size_t size);
// Sends a KeyUpdate that asks for the peer's. WOULD_BLOCK: not now.
long tls_rekey(void);
void tls_close(void);  // sends close_notify
const char* tls_version(void);

void die(const char* what, const char* why) __attribute__((noreturn));

#ifdef __cplusplus
}
#endif
