#include "tunnel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

long key_updates_sent, key_updates_received;

void die(const char* what, const char* why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

static void check(int succeeded, const char* what) {
  if (!succeeded) die(what, strerror(errno));
}

static struct sockaddr_in loopback(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// Takes the first connection to a free port, which is printed.
static int accept_one(void) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  check(bind(listener, (struct sockaddr*)&address, size) == 0 && listen(listener, 1) == 0, "listen");
  check(getsockname(listener, (struct sockaddr*)&address, &size) == 0, "getsockname");
  fprintf(stderr, "port %d\n", ntohs(address.sin_port));
  const int fd = accept(listener, NULL, NULL);
  check(fd >= 0, "accept");
  close(listener);
  return fd;
}

static int connect_to(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const struct sockaddr_in address = loopback(port);
  check(connect(fd, (const struct sockaddr*)&address, sizeof address) == 0, "connect");
  return fd;
}

// The SSLRequest of PostgreSQL, and its answer.
static void agree_on_tls(int fd, int is_server) {
  static const unsigned char request[8] = {0, 0, 0, 8, 4, 210, 22, 47};
  unsigned char bytes[8];
  if (is_server) {
    check(recv(fd, bytes, 8, MSG_WAITALL) == 8 && memcmp(bytes, request, 8) == 0, "SSLRequest");
    check(send(fd, "S", 1, 0) == 1, "answer");
  } else {
    check(send(fd, request, 8, 0) == 8 && recv(fd, bytes, 1, 0) == 1 && bytes[0] == 'S', "SSLRequest");
  }
}

struct direction {
  unsigned char bytes[16384];
  size_t begin, end;
  int ended;  // no more comes
  uint64_t total, next_rekey;
};

static size_t fill(struct direction* direction, long count) {
  if (count == END) direction->ended = 1;
  if (count <= 0) return 0;
  direction->begin = 0;
  direction->end = (size_t)count;
  direction->total += (uint64_t)count;
  return (size_t)count;
}

static size_t drain(struct direction* direction, long count) {
  if (count <= 0) return 0;
  direction->begin += (size_t)count;
  return (size_t)count;
}

static int is_empty(const struct direction* direction) {
  return direction->begin == direction->end;
}

static long socket_result(ssize_t count) {
  if (count >= 0) return count;
  if (errno == EAGAIN || errno == EINTR) return WOULD_BLOCK;
  return END;  // reset
}

static int wants_rekey(const struct direction* direction) {
  return direction->next_rekey != 0 && direction->total >= direction->next_rekey;
}

// Copies in both directions until one of them ends. A KeyUpdate is sent after every `octets` in each
// direction.
static void copy(int plain, int tls, uint64_t octets) {
  static struct direction out, in;
  out.next_rekey = in.next_rekey = octets;
  while (!(out.ended && is_empty(&out)) && !(in.ended && is_empty(&in))) {
    size_t moved = 0;
    if (is_empty(&out) && (wants_rekey(&out) || wants_rekey(&in)) && tls_rekey() != WOULD_BLOCK) {
      out.next_rekey = out.total + octets;
      in.next_rekey = in.total + octets;
      ++moved;
    }
    if (is_empty(&out) && !out.ended)
      moved += fill(&out, socket_result(recv(plain, out.bytes, sizeof out.bytes, 0)));
    if (!is_empty(&out)) moved += drain(&out, tls_write(out.bytes + out.begin, out.end - out.begin));
    if (is_empty(&in) && !in.ended) moved += fill(&in, tls_read(in.bytes, sizeof in.bytes));
    if (!is_empty(&in))
      moved += drain(&in, socket_result(send(plain, in.bytes + in.begin, in.end - in.begin, MSG_NOSIGNAL)));
    if (moved != 0 || (out.ended && is_empty(&out)) || (in.ended && is_empty(&in))) continue;
    struct pollfd both[2] = {
        {.fd = plain, .events = (short)((is_empty(&out) ? POLLIN : 0) | (is_empty(&in) ? 0 : POLLOUT))},
        {.fd = tls, .events = (short)((is_empty(&in) ? POLLIN : 0) | (is_empty(&out) ? 0 : POLLOUT))}};
    poll(both, 2, 1000);
  }
}

int main(int count, char** words) {
  if (count != 7) die("usage", "client|server TARGET_PORT CERTIFICATE KEY AUTHORITY REKEY_OCTETS");
  signal(SIGPIPE, SIG_IGN);
  const int is_server = strcmp(words[1], "server") == 0;
  const int accepted = accept_one();
  const int target = connect_to(atoi(words[2]));
  const struct settings settings = {.fd = is_server ? accepted : target,
                                    .is_server = is_server,
                                    .certificate = words[3],
                                    .key = words[4],
                                    .authority = words[5]};
  const int plain = is_server ? target : accepted;
  agree_on_tls(settings.fd, is_server);
  tls_start(&settings);
  check(fcntl(settings.fd, F_SETFL, O_NONBLOCK) == 0 && fcntl(plain, F_SETFL, O_NONBLOCK) == 0, "fcntl");
  copy(plain, settings.fd, strtoull(words[6], NULL, 10));
  tls_close();
  fprintf(stderr, "version=%s sent=%ld received=%ld\n", tls_version(), key_updates_sent,
          key_updates_received);
  return 0;
}
