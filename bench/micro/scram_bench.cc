// The cost of a login with SCRAM-SHA-256, without connections: both ends of the exchange, and the only slow
// step, which derives the salted password.
#include <benchmark/benchmark.h>

#include "protocol/scram_client.h"
#include "protocol/scram_server.h"
#include "proxy/credentials/scram_hash.h"

namespace {

using namespace pgveil;
using namespace pgveil::protocol;

struct Account {
  ScramSalting salting{.iterations = 4'096, .salt = Bytes(16, 's')};
  SecretKey salted = proxy::salted_password("bench", salting);
  ScramKeys keys = keys_of(salted, proxy::scram_hash());                 // stored by pgveil
  ScramSecret secret = secret_of(salted, salting, proxy::scram_hash());  // stored by a server
};

// A complete exchange. The client has its keys from an earlier exchange, the server its secret from pg_authid.
void converse(benchmark::State& state, bool binds_channel) {
  const Account account;
  const Bytes end_point = binds_channel ? Bytes(32, 'c') : Bytes();
  for (auto _ : state) {
    ScramClient client(proxy::scram_hash(),
                       {.channel_binding = ChannelBinding::prefer, .has_tls = true, .end_point = end_point},
                       proxy::new_scram_nonce());
    ScramServer server(proxy::scram_hash(), account.secret, end_point, proxy::new_scram_nonce());
    const auto start = client.start(scram_mechanisms(binds_channel));
    if (!start) return state.SkipWithError("no mechanism");
    const auto challenge = server.take_initial_response({start->mechanism, as_bytes(start->client_first)});
    if (!challenge || !client.take_server_first(as_bytes(*challenge))) return state.SkipWithError("first");
    const auto proof = client.answer(account.keys);
    const auto signature = proof ? server.take_response(as_bytes(*proof)) : challenge;
    if (!signature || !client.take_server_final(as_bytes(*signature)) || !server.finished())
      return state.SkipWithError("final");
  }
}
BENCHMARK_CAPTURE(converse, scram_sha_256, false)->Name("BM_ScramConversation/scram_sha_256");
BENCHMARK_CAPTURE(converse, scram_sha_256_plus, true)->Name("BM_ScramConversation/scram_sha_256_plus");

// The step that is made once for each password and salt; afterwards pgveil keeps the keys.
void BM_ScramSaltedPassword(benchmark::State& state) {
  const ScramSalting salting{.iterations = 4'096, .salt = Bytes(16, 's')};
  for (auto _ : state) benchmark::DoNotOptimize(proxy::salted_password("bench", salting));
}
BENCHMARK(BM_ScramSaltedPassword);

}  // namespace
