// The time to decode, check and encode a client's first packet, and the speed at which message boundaries are
// tracked in a stream. Every session does both.
#include <benchmark/benchmark.h>

#include "protocol/message.h"
#include "protocol/startup.h"

namespace {

using namespace pgveil::protocol;

// Returns the StartupMessage of psql 18.
StartupMessage psql_startup() {
  return {
      kProtocol30,
      {{"user", "app"}, {"database", "ledger"}, {"application_name", "psql"}, {"client_encoding", "UTF8"}}};
}

Bytes encoded(const StartupMessage& message) {
  Bytes bytes;
  encode_startup_message(message, bytes);
  return bytes;
}

void BM_DecodeStartupMessage(benchmark::State& state) {
  const Bytes bytes = encoded(psql_startup());
  for (auto _ : state) {
    ByteReader in(bytes);
    auto packet = decode_startup_packet(in);
    benchmark::DoNotOptimize(packet);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}
BENCHMARK(BM_DecodeStartupMessage);

// A StartupMessage with the largest possible number of parameters: the most work that a hostile client can
// cause before it is authenticated.
void BM_DecodeAndJudgeTheWorstStartupMessage(benchmark::State& state) {
  StartupMessage message{kProtocol30, {}};
  while (fits_startup_packet(message)) message.parameters.emplace_back("a", "");
  message.parameters.pop_back();
  const Bytes bytes = encoded(message);
  for (auto _ : state) {
    ByteReader in(bytes);
    auto packet = decode_startup_packet(in);
    benchmark::DoNotOptimize(find_startup_defect(std::get<StartupMessage>(**packet)));
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}
BENCHMARK(BM_DecodeAndJudgeTheWorstStartupMessage);

void BM_EncodeStartupMessage(benchmark::State& state) {
  const StartupMessage message = psql_startup();
  Bytes bytes;
  for (auto _ : state) {
    bytes.clear();
    encode_startup_message(message, bytes);
    benchmark::DoNotOptimize(bytes.data());
  }
}
BENCHMARK(BM_EncodeStartupMessage);

// Tracks a read of 64 KiB that is full of DataRows with `range` bytes each.
void BM_FollowBoundaries(benchmark::State& state) {
  const auto row_bytes = static_cast<std::size_t>(state.range(0));
  Bytes stream;
  ByteWriter writer(stream);
  while (stream.size() < 64 * 1024) {
    writer.write_uint8('D');
    const std::size_t length = writer.begin_length();
    writer.write_bytes(Bytes(row_bytes));
    writer.end_length(length);
  }
  BoundaryTracker tracker;
  for (auto _ : state) {
    tracker.follow(stream);
    benchmark::DoNotOptimize(tracker);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(stream.size()));
}
BENCHMARK(BM_FollowBoundaries)->Arg(16)->Arg(256)->Arg(8192);

}  // namespace
