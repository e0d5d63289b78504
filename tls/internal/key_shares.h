// Which key share a server of TLS 1.3 is sent. Without a memory a client guesses: OpenSSL sends shares of the
// groups that it likes best, and a server that takes another one answers with a HelloRetryRequest (RFC 8446,
// 4.1.4), which costs a round trip in every handshake. PostgreSQL up to 17 takes P-256 alone unless
// ssl_ecdh_curve says otherwise, so it does so to every client with today's defaults. And where the guess
// holds a share of ML-KEM that the server will not take, it costs a quarter of the handshake.
//
// So the group that a host took is remembered, and the next handshake sends a share of that one alone,
// while it still offers all groups, in a list that begins with that group. A server that wants another one
// says so by a HelloRetryRequest. Since a server may also put up with what is sent, OpenSSL's own choice is
// sent again from time to time. Only handshakes with a verified server are remembered, and what is said in
// them is authenticated: nobody on the way can bring us to another group than the two ends would choose.
#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

// OpenSSL's own names for SSL_CTX and SSL, so that this header needs none of OpenSSL's.
struct ssl_ctx_st;
struct ssl_st;

namespace pgveil::tls {

// For all connections of one upstream; any thread may call anything.
class KeyShares {
 public:
  using Clock = std::chrono::steady_clock;
  // How long a server that has begun to take a better group may go without being sent a share of it.
  static constexpr auto kRememberedFor = std::chrono::minutes(10);

  // Finds out what connections of that context offer of their own accord, by making one.
  explicit KeyShares(ssl_ctx_st* context);

  enum class Choice { own, remembered };
  // Before a handshake with `host`, the name that its certificate has to be for: lets it send the remembered
  // share, if there is one to be sent.
  [[nodiscard]] Choice choose(ssl_st* ssl, const std::string& host, Clock::time_point now) const;
  // After a handshake for which choose() gave that answer.
  void learn(ssl_st* ssl, const std::string& host, Choice choice, Clock::time_point now);
  // After a handshake that failed: whatever the reason was, the next one guesses again.
  void forget(const std::string& host);

  // The groups that are offered, as IANA calls them, and those of which a share is sent, in the ClientHello's
  // order. None before TLS 1.3, and where nothing can be remembered.
  [[nodiscard]] const std::vector<std::string>& offered() const { return offered_; }
  [[nodiscard]] const std::vector<std::string>& shared() const { return shared_; }

 private:
  struct Memory {
    std::size_t group;  // in offered_
    Clock::time_point until;
  };

  std::vector<std::string> offered_;
  std::vector<std::string> shared_;
  std::vector<std::string> lists_;  // all that are offered, with the one of that number first
  mutable std::mutex mutex_;        // of what follows
  std::unordered_map<std::string, Memory> remembered_;  // as many as the upstream has hosts
};

}  // namespace pgveil::tls
