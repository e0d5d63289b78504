// The time to decode the messages of a login. After the login no message is decoded.
#include <benchmark/benchmark.h>

#include "protocol/backend.h"
#include "protocol/message.h"

namespace {

using namespace pgveil::protocol;

constexpr std::uint32_t kMaxMessageLength = 30'000;

void append_message(char type, ByteView body, Bytes& out) {
  ByteWriter writer(out);
  writer.write_uint8(static_cast<std::uint8_t>(type));
  const std::size_t length = writer.begin_length();
  writer.write_bytes(body);
  writer.end_length(length);
}

// Returns the messages of PostgreSQL 18 after a successful login: AuthenticationOk, fourteen ParameterStatus,
// BackendKeyData, ReadyForQuery.
Bytes welcome() {
  Bytes bytes;
  encode_authentication(AuthenticationCode::ok, {}, bytes);
  constexpr std::string_view kParameter("default_transaction_read_only\0off\0", 34);
  for (int i = 0; i < 14; ++i) append_message(kParameterStatus, as_bytes(kParameter), bytes);
  append_message(kBackendKeyData, Bytes(8), bytes);
  append_message(kReadyForQuery, Bytes{'I'}, bytes);
  return bytes;
}

void BM_DecodeWelcome(benchmark::State& state) {
  const Bytes bytes = welcome();
  for (auto _ : state) {
    ByteReader in(bytes);
    int messages = 0;
    for (auto message = decode_message(in, kMaxMessageLength); message && *message;
         message = decode_message(in, kMaxMessageLength)) {
      ++messages;
      if ((*message)->type == kAuthentication) {
        auto authentication = decode_authentication((*message)->body);
        benchmark::DoNotOptimize(authentication);
      } else if ((*message)->type == kBackendKeyData) {
        auto key = decode_backend_key_data((*message)->body);
        benchmark::DoNotOptimize(key);
      }
    }
    if (messages != 17) return state.SkipWithError("not all messages were decoded");
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}
BENCHMARK(BM_DecodeWelcome);

// An error that is decoded from a server and encoded for a client.
void BM_DecodeAndEncodeErrorResponse(benchmark::State& state) {
  Bytes bytes;
  encode_error_response({.severity = "FATAL",
                         .sqlstate = "28P01",
                         .message = "password authentication failed for user \"app\"",
                         .detail = "Connection matched file \"/etc/postgresql/18/main/pg_hba.conf\" line 97",
                         .hint = ""},
                        bytes);
  Bytes again;
  for (auto _ : state) {
    ByteReader in(bytes);
    const auto message = decode_message(in, kMaxMessageLength);
    const auto fields = decode_error_fields((*message)->body);
    if (!fields) return state.SkipWithError("not decoded");
    again.clear();
    encode_error_response(*fields, again);
    benchmark::DoNotOptimize(again.data());
  }
}
BENCHMARK(BM_DecodeAndEncodeErrorResponse);

}  // namespace
