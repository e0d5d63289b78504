// The cost of TLS without sockets: bytes through an established connection by size and direction, handshakes
// by version and kind of key, and the heap memory of an idle connection.
#include <benchmark/benchmark.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "bench/site.h"
#include "tls/engine.h"

namespace {

using pgveil::bench::Site;
using pgveil::test::KeyKind;
using namespace pgveil::tls;

// --- OpenSSL's heap, counted ---

struct OpenSslHeap {
  std::size_t bytes = 0;
  std::size_t allocations = 0;
};
OpenSslHeap openssl_heap;

// The size of each block is stored before the block, in a header that keeps the block aligned.
constexpr std::size_t kHeader = alignof(std::max_align_t);

void* allocate(std::size_t size, const char* /*file*/, int /*line*/) {
  auto* block = static_cast<std::byte*>(std::malloc(kHeader + size));
  if (block == nullptr) return nullptr;
  std::memcpy(block, &size, sizeof size);
  openssl_heap.bytes += size;
  ++openssl_heap.allocations;
  return block + kHeader;
}

void release(void* place, const char* /*file*/, int /*line*/) {
  if (place == nullptr) return;
  auto* block = static_cast<std::byte*>(place) - kHeader;
  std::size_t size = 0;
  std::memcpy(&size, block, sizeof size);
  openssl_heap.bytes -= size;
  std::free(block);
}

void* reallocate(void* place, std::size_t size, const char* file, int line) {
  if (place == nullptr) return allocate(size, file, line);
  if (size == 0) {
    release(place, file, line);
    return nullptr;
  }
  std::size_t old_size = 0;
  std::memcpy(&old_size, static_cast<std::byte*>(place) - kHeader, sizeof old_size);
  void* moved = allocate(size, file, line);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, place, std::min(size, old_size));
  release(place, file, line);
  return moved;
}

// OpenSSL accepts these functions only before its first allocation, hence before main().
const bool openssl_heap_is_counted = CRYPTO_set_mem_functions(allocate, reallocate, release) == 1;

// --- two ends and the bytes between them ---

struct Connection {
  explicit Connection(const Site& site)
      : client(Engine::to_server(site.client_context, {.host = Site::kHost})),
        server(Engine::to_client(site.server_context, false)) {}

  // Passes messages between the two ends until both have finished the handshake.
  void shake_hands() {
    std::array<std::uint8_t, 16'384> to_server_memory;
    std::array<std::uint8_t, 16'384> to_client_memory;
    Outgoing to_server(to_server_memory);
    Outgoing to_client(to_client_memory);
    auto client_status = Engine::Status::want_input;
    auto server_status = Engine::Status::want_input;
    for (int flight = 0; flight < 3; ++flight) {
      ByteView from_server = to_client.written();
      to_server.clear();
      client_status = client->handshake(from_server, to_server);
      ByteView from_client = to_server.written();
      to_client.clear();
      server_status = server->handshake(from_client, to_client);
    }
    if (client_status != Engine::Status::ready || server_status != Engine::Status::ready)
      throw std::runtime_error("handshake: " + client->failure().reason + server->failure().reason);
  }

  std::unique_ptr<Engine> client;
  std::unique_ptr<Engine> server;
};

// --- throughput ---

void write_sizes(benchmark::internal::Benchmark* bench) {
  for (const int size : {64, 512, 1'400, 8'192, 16'384, 65'536}) bench->Arg(size);
}

void report(benchmark::State& state, std::size_t allocations_before) {
  state.SetBytesProcessed(state.iterations() * state.range(0));
  state.counters["openssl_allocations"] = benchmark::Counter(
      static_cast<double>(openssl_heap.allocations - allocations_before), benchmark::Counter::kAvgIterations);
}

// One write() of the relay: encrypts the plaintext of one recv() into the ciphertext of one send().
void BM_Write(benchmark::State& state) {
  const Site site;
  Connection connection(site);
  connection.shake_hands();
  const std::vector<std::uint8_t> bytes(static_cast<std::size_t>(state.range(0)), 'q');
  std::vector<std::uint8_t> memory(ciphertext_room(bytes.size()));
  const std::size_t before = openssl_heap.allocations;
  for (auto _ : state) {
    ByteView plaintext(bytes);
    Outgoing out(memory);
    if (connection.client->write(plaintext, out) != Engine::Status::ready)
      return state.SkipWithError("write");
  }
  report(state, before);
}
BENCHMARK(BM_Write)->Apply(write_sizes);

// Encrypts at one end and decrypts at the other. (A record can be decrypted only once. The time for decrypting
// alone is the difference from BM_Write.)
void write_and_read(benchmark::State& state, Engine& from, Engine& to) {
  const std::vector<std::uint8_t> bytes(static_cast<std::size_t>(state.range(0)), 'q');
  std::vector<std::uint8_t> memory(ciphertext_room(bytes.size()));
  std::vector<std::uint8_t> plaintext_memory(plaintext_room(memory.size()));
  std::array<std::uint8_t, 1'024> answer_memory;
  const std::size_t before = openssl_heap.allocations;
  for (auto _ : state) {
    ByteView plaintext(bytes);
    Outgoing out(memory);
    if (from.write(plaintext, out) != Engine::Status::ready) return state.SkipWithError("write");
    ByteView ciphertext = out.written();
    Outgoing answer(answer_memory);
    const auto read = to.read(ciphertext, plaintext_memory, answer);
    if (read.size != bytes.size()) return state.SkipWithError("read");
  }
  report(state, before);
}

void BM_ToServer(benchmark::State& state) {
  const Site site;
  Connection connection(site);
  connection.shake_hands();
  write_and_read(state, *connection.client, *connection.server);
}
BENCHMARK(BM_ToServer)->Apply(write_sizes);

void BM_ToClient(benchmark::State& state) {
  const Site site;
  Connection connection(site);
  connection.shake_hands();
  write_and_read(state, *connection.server, *connection.client);
}
BENCHMARK(BM_ToClient)->Apply(write_sizes);

// Reads a result of a server in the form in which one recv() returns it: many records of one page each, in one call.
void BM_ReadManyRecords(benchmark::State& state) {
  constexpr std::size_t kRecord = 8'192;
  constexpr std::size_t kRecords = 8;
  const Site site;
  Connection connection(site);
  connection.shake_hands();
  const std::vector<std::uint8_t> bytes(kRecord, 'q');
  std::vector<std::uint8_t> memory(kRecords * ciphertext_room(kRecord));
  std::vector<std::uint8_t> plaintext_memory(plaintext_room(memory.size()));
  std::array<std::uint8_t, 1'024> answer_memory;
  for (auto _ : state) {
    Outgoing out(memory);
    for (std::size_t i = 0; i < kRecords; ++i) {
      ByteView plaintext(bytes);
      if (connection.server->write(plaintext, out) != Engine::Status::ready)
        return state.SkipWithError("write");
    }
    ByteView ciphertext = out.written();
    Outgoing answer(answer_memory);
    if (connection.client->read(ciphertext, plaintext_memory, answer).size != kRecords * kRecord)
      return state.SkipWithError("read");
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kRecords * kRecord));
}
BENCHMARK(BM_ReadManyRecords);

// --- handshakes and memory ---

void BM_Handshake(benchmark::State& state, KeyKind key, Version version) {
  const Site site(key, version);
  for (auto _ : state) {
    Connection connection(site);
    connection.shake_hands();
  }
}
BENCHMARK_CAPTURE(BM_Handshake, p256_tls1_3, KeyKind::p256, Version::tls1_3);
BENCHMARK_CAPTURE(BM_Handshake, p256_tls1_2, KeyKind::p256, Version::tls1_2);
BENCHMARK_CAPTURE(BM_Handshake, rsa2048_tls1_3, KeyKind::rsa2048, Version::tls1_3);
BENCHMARK_CAPTURE(BM_Handshake, rsa2048_tls1_2, KeyKind::rsa2048, Version::tls1_2);

// Measures the heap memory that OpenSSL uses for one established end of a connection, not the time.
void BM_IdleHeap(benchmark::State& state, Version version) {
  if (!openssl_heap_is_counted) return state.SkipWithError("OpenSSL's heap cannot be counted");
  const Site site(KeyKind::p256, version);
  std::size_t client_bytes = 0;
  std::size_t server_bytes = 0;
  for (auto _ : state) {
    Connection connection(site);
    connection.shake_hands();
    const std::size_t both = openssl_heap.bytes;
    connection.client.reset();
    const std::size_t server_alone = openssl_heap.bytes;
    connection.server.reset();
    client_bytes = both - server_alone;
    server_bytes = server_alone - openssl_heap.bytes;
  }
  state.counters["to_server_bytes"] = static_cast<double>(client_bytes);
  state.counters["to_client_bytes"] = static_cast<double>(server_bytes);
}
BENCHMARK_CAPTURE(BM_IdleHeap, tls1_3, Version::tls1_3)->Iterations(3);
BENCHMARK_CAPTURE(BM_IdleHeap, tls1_2, Version::tls1_2)->Iterations(3);

}  // namespace
