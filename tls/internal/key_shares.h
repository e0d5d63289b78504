// The choice of the key share that is sent to a server of TLS 1.3. OpenSSL sends shares of the groups that it
// prefers. A server that chooses another group replies with a HelloRetryRequest (RFC 8446, 4.1.4), which
// costs a round trip in every handshake. PostgreSQL up to 17 accepts only P-256 unless ssl_ecdh_curve is set,
// so it sends a HelloRetryRequest to every client with today's defaults. A share of ML-KEM that the server
// does not accept costs a quarter of the handshake.
//
// Therefore the group that a host has chosen is remembered. The next handshake sends a share of that group
// only, and still offers all groups, in a list that begins with that group. A server that prefers another
// group sends a HelloRetryRequest. A server may also accept the share although it has a better group, so
// OpenSSL's own choice is sent again from time to time. Only handshakes with a verified server are
// remembered, and the handshake is authenticated: an attacker on the network cannot make the two ends choose
// another group.
#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

// OpenSSL's own names for SSL_CTX and SSL, so that this header includes no header of OpenSSL.
struct ssl_ctx_st;
struct ssl_st;

namespace pgveil::tls {

// The remembered groups of one upstream, for all its connections. Thread-safe.
class KeyShares {
 public:
  using Clock = std::chrono::steady_clock;
  // A server that starts to support a better group is sent a share of it after this time at the latest.
  static constexpr auto kRememberedFor = std::chrono::minutes(10);

  // Determines the groups that connections of `context` offer by default, by making one connection.
  explicit KeyShares(ssl_ctx_st* context);

  enum class Choice { own, remembered };
  // Called before a handshake with `host`, the name that its certificate must be for. Makes `ssl` send the
  // remembered share, if there is one.
  [[nodiscard]] Choice choose(ssl_st* ssl, const std::string& host, Clock::time_point now) const;
  // Called after a successful handshake, with the result of choose().
  void learn(ssl_st* ssl, const std::string& host, Choice choice, Clock::time_point now);
  // Called after a failed handshake: for any reason, the next handshake uses OpenSSL's own choice again.
  void forget(const std::string& host);

  // The groups that are offered, under IANA's names, and those of which a share is sent, in the order of the
  // ClientHello. Empty before TLS 1.3, and if nothing can be remembered.
  [[nodiscard]] const std::vector<std::string>& offered() const { return offered_; }
  [[nodiscard]] const std::vector<std::string>& shared() const { return shared_; }

 private:
  struct Memory {
    std::size_t group;  // index in offered_
    Clock::time_point until;
  };

  std::vector<std::string> offered_;
  std::vector<std::string> shared_;
  std::vector<std::string> lists_;  // list i contains all groups of offered_, group i first
  mutable std::mutex mutex_;        // protects remembered_
  std::unordered_map<std::string, Memory> remembered_;  // by host; one entry per host of the upstream
};

}  // namespace pgveil::tls
