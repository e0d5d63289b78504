// Any bytes as the messages of a server during a login: decoding them must be safe. Messages that pgveil
// writes as a server must be decoded to the same values, for any text in them.
#include <algorithm>
#include <cstdint>
#include <string>
#include <variant>

#include "protocol/backend.h"
#include "protocol/message.h"
#include "protocol/query_reader.h"
#include "tests/fuzz/require.h"

namespace {

using namespace pgveil::protocol;
using pgveil::fuzz::require;

constexpr std::size_t kLibpqReadsBytes = 30'000;
constexpr std::size_t kNeverCutBytes = 20'000;

// Returns the body of the only message in `bytes`.
ByteView only_body(const Bytes& bytes) {
  ByteReader in(bytes);
  const auto message = decode_message(in, kLibpqReadsBytes);
  require(message.has_value() && message->has_value() && in.empty());
  return (*message)->body;
}

void check_sasl_mechanisms(ByteView data) {
  const auto mechanisms = decode_sasl_mechanisms(data);
  if (!mechanisms || data.size() > kNeverCutBytes) return;
  Bytes written;
  encode_authentication_sasl(*mechanisms, written);
  const auto authentication = decode_authentication(only_body(written));
  require(authentication.has_value() && authentication->code == AuthenticationCode::sasl);
  require(std::ranges::equal(authentication->data, data));
}

void check_backend_key_data(ByteView body) {
  const auto key = decode_backend_key_data(body);
  if (!key) return;
  Bytes written;
  encode_cancel_request(*key, written);
  ByteReader in(written);
  const auto packet = decode_startup_packet(in);
  require(packet.has_value() && packet->has_value());
  const auto& request = std::get<CancelRequest>(**packet);
  require(request.process_id == key->process_id && request.key == key->key);
}

void check_error_fields(ByteView body) {
  const auto fields = decode_error_fields(body);
  if (!fields || body.size() > kNeverCutBytes) return;
  if (fields->severity.size() > 64 || fields->sqlstate.size() > 64) return;  // cut; real ones are shorter
  Bytes written;
  encode_error_response(*fields, written);
  const auto again = decode_error_fields(only_body(written));
  require(again.has_value());
  require(again->severity == fields->severity && again->sqlstate == fields->sqlstate);
  require(again->message == fields->message && again->detail == fields->detail);
  require(again->hint == fields->hint);
}

// `text` is for example from a certificate or a configuration, and may have any length.
void check_error_response(std::string_view text, std::size_t times) {
  std::string long_text;
  for (std::size_t time = 0; time < times; ++time) long_text += text;
  Bytes written;
  encode_error_response({.severity = "FATAL",
                         .sqlstate = "28000",
                         .message = std::string(text),
                         .detail = long_text,
                         .hint = std::string(text)},
                        written);
  require(written.size() < kLibpqReadsBytes);
  const auto fields = decode_error_fields(only_body(written));
  require(fields.has_value() && fields->sqlstate == "28000");
  std::erase(long_text, '\0');
  require(long_text.starts_with(fields->detail));
  if (long_text.size() < kNeverCutBytes / 3) require(fields->detail == long_text);
}

// A server's answer to a query, which comes in one piece or byte by byte.
void check_query_answer(ByteView bytes) {
  QueryReader at_once, by_byte;
  const auto state = at_once.receive(bytes);
  auto last = QueryReader::State::more;
  for (std::size_t i = 0; i < bytes.size(); ++i) last = by_byte.receive(bytes.subspan(i, 1));
  require(state == last);
  if (state == QueryReader::State::failed) return;
  const auto& whole = at_once.answer();
  const auto& pieces = by_byte.answer();
  require(whole.rows == pieces.rows && whole.columns == pieces.columns);
  require(whole.error.has_value() == pieces.error.has_value());
  if (whole.error)
    require(whole.error->sqlstate == pieces.error->sqlstate && whole.error->message == pieces.error->message);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView bytes(data, size);
  const ByteView body = bytes.subspan(1);
  (void)decode_authentication(body);
  check_sasl_mechanisms(body);
  check_backend_key_data(body);
  check_error_fields(body);
  (void)decode_parameter_status(body);
  (void)decode_negotiate_protocol_version(body);
  check_error_response(as_text(body), bytes.front());
  check_query_answer(bytes);
  return 0;
}
