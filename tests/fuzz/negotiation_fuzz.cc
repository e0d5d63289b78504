// A negotiation must have the same result, in whatever pieces its bytes arrive. There is one exception: bytes
// that arrive together with a request, before its answer, are refused as unencrypted data after the request.
#include <algorithm>
#include <cstdint>
#include <string>

#include "protocol/negotiation.h"
#include "tests/fuzz/cuts.h"
#include "tests/fuzz/require.h"

namespace {

using namespace pgveil::protocol;
using pgveil::fuzz::Cuts;
using pgveil::fuzz::require;
using Event = Negotiation::Event;

constexpr std::size_t kPolicyBytes = 1;
constexpr std::size_t kPatternBytes = 4;

struct Outcome {
  Event event = Event::more;
  Bytes answers;
  std::size_t read_bytes = 0;
  bool inside_tls = false;
  bool direct_tls = false;
  Bytes packet;  // of a StartupMessage or a CancelRequest
  NegotiationFailure failure{};
  std::string message;

  bool operator==(const Outcome&) const = default;
};

Bytes packet_of(const Negotiation& negotiation, Event event) {
  Bytes packet;
  if (event == Event::startup) encode_startup_message(negotiation.startup(), packet);
  if (event == Event::cancel) encode_cancel_request(negotiation.cancel(), packet);
  return packet;
}

// Requires that a negotiation stays in its state without more bytes and without the end of a handshake.
void require_standing(Negotiation& negotiation, ByteView unread, const Outcome& outcome) {
  ByteReader in(unread);
  Bytes answers;
  require(negotiation.advance(in, answers) == outcome.event);
  require(in.remaining() == unread.size() && answers.empty());
}

// Runs a negotiation with a client whose TLS handshake is a single byte.
Outcome converse(NegotiationPolicy policy, ByteView stream, Cuts cuts) {
  Negotiation negotiation(policy);
  Outcome outcome;
  std::size_t arrived = 0;
  while (outcome.event == Event::more) {
    ByteReader in(stream.subspan(outcome.read_bytes, arrived - outcome.read_bytes));
    outcome.event = negotiation.advance(in, outcome.answers);
    outcome.read_bytes = arrived - in.remaining();
    if (outcome.event == Event::accept_tls) {
      require(!negotiation.inside_tls());
      require_standing(negotiation, in.rest(), outcome);
      negotiation.tls_established();
      outcome.event = Event::more;
      outcome.read_bytes = std::min(outcome.read_bytes + 1, stream.size());
      arrived = std::max(arrived, outcome.read_bytes);
    } else if (arrived == stream.size()) {
      break;
    } else {
      arrived += cuts.next(stream.size() - arrived);
    }
  }
  require(outcome.answers.size() <= 2);  // each request is answered once
  if (outcome.event != Event::more)
    require_standing(negotiation, stream.subspan(outcome.read_bytes), outcome);

  outcome.inside_tls = negotiation.inside_tls();
  outcome.direct_tls = negotiation.direct_tls();
  outcome.packet = packet_of(negotiation, outcome.event);
  outcome.failure = negotiation.failure();
  outcome.message = negotiation.failure_message();
  return outcome;
}

bool is_stuffed(const Outcome& outcome) {
  return outcome.event == Event::failed &&
         (outcome.failure == NegotiationFailure::unencrypted_data_after_ssl_request ||
          outcome.failure == NegotiationFailure::unencrypted_data_after_gss_request);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < kPolicyBytes + kPatternBytes) return 0;
  const ByteView bytes(data, size);
  const NegotiationPolicy policy{.tls = (data[0] & 1) != 0, .direct_tls = (data[0] & 2) != 0};
  const ByteView stream = bytes.subspan(kPolicyBytes + kPatternBytes);

  const Outcome byte_by_byte = converse(policy, stream, Cuts());
  require(!is_stuffed(byte_by_byte));
  const Outcome in_pieces = converse(policy, stream, Cuts(bytes.subspan(kPolicyBytes, kPatternBytes)));
  require(is_stuffed(in_pieces) || in_pieces == byte_by_byte);
  return 0;
}
