#include "proxy/session/handshake_counts.h"

#include <string_view>

namespace pgveil::proxy {
namespace {

// OpenSSL's text for an alert of the peer is, for example, "tlsv1 alert unknown ca".
std::string_view alert_in(std::string_view reason) {
  constexpr std::string_view kMark = " alert ";
  const std::size_t mark = reason.find(kMark);
  return mark == std::string_view::npos ? std::string_view() : reason.substr(mark + kMark.size());
}

}  // namespace

HandshakeKind::HandshakeKind(const tls::Established& established)
    : version(established.version),
      cipher(established.cipher),
      group(established.group),
      is_post_quantum(established.post_quantum) {}

HandshakeKind HandshakeKind::other() {
  HandshakeKind kind;
  kind.version = kind.cipher = kind.group = "other";
  return kind;
}

FailedHandshakeKind::FailedHandshakeKind(const tls::FailureReport& report)
    : failure(tls::name_of(report.failure)), alert(alert_in(report.reason)) {}

FailedHandshakeKind FailedHandshakeKind::other() {
  FailedHandshakeKind kind;
  kind.failure = kind.alert = "other";
  return kind;
}

}  // namespace pgveil::proxy
