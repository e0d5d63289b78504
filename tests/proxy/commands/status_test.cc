#include "proxy/commands/status.h"

#include <gtest/gtest.h>

#include "tests/proxy/commands/invocations.h"

namespace pgveil::proxy {
namespace {

constexpr std::string_view kStatus = R"({
  "schema": 1, "version": "0.1.0", "openssl": "OpenSSL 3.0.19", "libuv": "1.44.2", "relay": "io_uring",
  "tls_records": "own", "started": "2026-11-30T10:00:00Z", "uptime_seconds": 7500, "live": true, "ready": false,
  "draining": false, "problems": ["the last reload failed; the log has the errors"], "workers": 2,
  "configuration": {"loaded": "2026-11-30T10:00:00Z", "last_reload_succeeded": false,
                    "reloads": {"succeeded": 3, "failed": 1}, "last_failure": "2026-11-30T11:00:00Z",
                    "mistakes": [{"file": "/a.toml", "line": 2, "setting": "limits.relay", "message": "wrong", "hint": "H."},
                                 {"file": "", "line": null, "setting": "", "message": "port in use", "hint": ""}]},
  "limits": {"sessions": {"used": 6, "max": 10000}, "unauthenticated_clients": {"used": 3, "max": 1000},
             "descriptors": {"used": null, "max": 1024}},
  "listeners": [
    {"address": "127.0.0.1:5432", "upstream": "primary", "accepted": 20,
     "sessions": {"phases": {"negotiate": 1, "accept_tls": 2, "relay": 6, "closing": 4},
                  "established": {"idle": 3, "in_transaction": 2, "active": 1}},
     "logins": {"accepted": 12, "refused": 5}, "bytes": {"to_client": 1234567, "to_server": 999},
     "ended": {"client_closed": 7, "password_wrong": 5},
     "latencies": {"client_handshake": null, "connect": {"count": 6, "p50": 0.00025, "p95": 0.001, "p99": 0.0012},
                   "upstream_handshake": null, "login": {"count": 6, "p50": 0.012, "p95": 0.9, "p99": 1.25},
                   "start": {"count": 6, "p50": 0.014, "p95": 0.9, "p99": 1.5}}},
    {"address": "unix:/run/a", "upstream": "b", "accepted": 0,
     "sessions": {"phases": {"relay": 0}, "established": {"idle": 0, "in_transaction": 0, "active": 0}},
     "logins": {"accepted": 0, "refused": 0}, "bytes": {"to_client": 0, "to_server": 0},
     "ended": {"password_wrong": 3},
     "latencies": {"client_handshake": null, "connect": null, "upstream_handshake": null, "login": null, "start": null}}],
  "upstreams": [
    {"name": "primary", "sslmode": "verify-full", "verdict": "verified", "problem": null, "server": "10.0.0.1:5432",
     "last_connected": "2026-11-30T12:00:00Z", "last_failed": null, "tls": "TLSv1.3",
     "certificate": {"subject": "CN=db", "not_after": "2027-01-01T00:00:00Z", "days_left": 31}},
    {"name": "b", "sslmode": "disable", "verdict": "failed", "problem": "The server refused.", "server": null,
     "last_connected": null, "last_failed": "2026-11-30T12:00:00Z", "tls": null, "certificate": null}],
  "certificates": [{"kind": "crl", "subject": "CN=ca", "file": "/ca.crl", "not_after": "2026-12-01T00:00:00Z",
                    "days_left": -2}]
})";

TEST(StatusText, IsForATerminal) {
  EXPECT_EQ(
      status_text(kStatus),
      "pgveil 0.1.0: not ready, up 2 h 5 min\n"
      "OpenSSL 3.0.19, relay by io_uring, TLS records by pgveil, workers: 2\n"
      "configuration loaded 2026-11-30T10:00:00Z; reloads: 3, failed: 1\n"
      "problem: the last reload failed; the log has the errors\n"
      "mistake: /a.toml:2: limits.relay: wrong\n"
      "mistake: port in use\n"
      "limits: sessions 6 of 10000, clients that log in 3 of 1000, descriptors ? of 1024\n"
      "\n"
      "LISTENER        UPSTREAM  ESTABLISHED  IDLE  IN TRANSACTION  ACTIVE  LOGGING IN  LOGINS  REFUSED  TO CLIENT  TO SERVER\n"
      "127.0.0.1:5432  primary   6            3     2               1       3           12      5        1.2 MB     999 B\n"
      "unix:/run/a     b         0            0     0               0       0           0       0        0 B        0 B\n"
      "\n"
      "50 % / 99 % SHORTER THAN  CLIENT TLS  CONNECT          SERVER TLS  LOGIN            START\n"
      "127.0.0.1:5432            -           250 us / 1.2 ms  -           12.0 ms / 1.2 s  14.0 ms / 1.5 s\n"
      "\n"
      "UPSTREAM  VERDICT   SERVER         LAST CONNECTED        CERTIFICATE DAYS LEFT\n"
      "primary   verified  10.0.0.1:5432  2026-11-30T12:00:00Z  31\n"
      "b         failed    -              -                     -\n"
      "upstream b: The server refused.\n"
      "\n"
      "SESSIONS ENDED  COUNT\n"
      "password_wrong  8\n"
      "client_closed   7\n"
      "\n"
      "CERTIFICATE  SUBJECT  DAYS LEFT  FILE\n"
      "crl          CN=ca    -2         /ca.crl\n");
}

TEST(StatusText, IsEmptyForOtherPages) {
  EXPECT_EQ(status_text("not JSON"), "");
  EXPECT_EQ(status_text("{}"), "");
  EXPECT_EQ(status_text("[1]"), "");
}

TEST(CommandLine, ReadsAQuery) {
  const auto status = understood({"status", "--admin", "127.0.0.1:9187", "--json", "--timeout", "3s"}).status;
  EXPECT_EQ(status.address.text(), "127.0.0.1:9187");
  EXPECT_TRUE(status.as_json);
  EXPECT_FALSE(status.watches);
  EXPECT_EQ(status.patience, std::chrono::seconds(3));
  const auto probe = understood({"probe", "ready"}, {{"PGVEIL_ADMIN_ADDRESS", "unix:/run/a"}}).probe;
  EXPECT_EQ(probe.address.text(), "unix:/run/a");
  EXPECT_EQ(probe.page, "/readyz");
}

TEST(CommandLine, RefusesAQueryWithoutAnAddress) {
  for (const auto& words : {Words{"status"}, Words{"probe", "live"}}) {
    const auto ending = ending_of(words);
    EXPECT_EQ(ending.exit_code, kExitUsage);
    EXPECT_PRED_FORMAT2(testing::IsSubstring, words.front() + " requires --admin", ending.errors);
    EXPECT_PRED_FORMAT2(testing::IsSubstring, "pgveil " + words.front() + " --help", ending.errors);
  }
}

}  // namespace
}  // namespace pgveil::proxy
