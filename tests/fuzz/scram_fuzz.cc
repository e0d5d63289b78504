// Any bytes as the messages of a client or a server in a SCRAM exchange: they must be handled safely, and no
// login may succeed. pgveil's client and server must agree, unless a byte between them is changed. Secrets
// and passwords that are written must be parsed to the same values.
#include <algorithm>
#include <cstdint>
#include <string>

#include "protocol/backend.h"
#include "protocol/base64.h"
#include "protocol/saslprep.h"
#include "protocol/scram_client.h"
#include "protocol/scram_server.h"
#include "tests/fuzz/require.h"

namespace {

using namespace pgveil::protocol;
using pgveil::fuzz::require;

// This target links only protocol/, which has no hash. This hash is not secure, but it differs for texts that
// differ in one byte, and its comparison has no branches that could guide the fuzzer.
class ToyHash : public ScramHash {
 public:
  SecretKey sha256(ByteView bytes) const override { return hmac_sha256({}, bytes); }

  SecretKey hmac_sha256(ByteView key, ByteView bytes) const override {
    SecretKey hash;
    for (std::size_t lane = 0; lane < 4; ++lane) {
      std::uint64_t state = 0xcbf29ce484222325 + lane;
      const auto mix = [&](std::uint8_t byte) { state = (state ^ byte) * 0x100000001b3; };
      std::ranges::for_each(key, mix);
      mix(static_cast<std::uint8_t>(key.size()));
      std::ranges::for_each(bytes, mix);
      for (std::size_t place = 0; place < 8; ++place)
        hash.bytes()[8 * lane + place] = static_cast<std::uint8_t>(state >> (8 * place));
    }
    return hash;
  }

  bool equal(ByteView left, ByteView right) const override {
    require(left.size() == right.size());
    unsigned difference = 0;
    for (std::size_t place = 0; place < left.size(); ++place)
      difference |= static_cast<unsigned>(left[place]) ^ right[place];
    return difference == 0;
  }
};

const ToyHash kHash;
const Bytes kEndPoint(32, 0xab);

// Returns the part of `text` before the first newline, and removes it with the newline from `text`.
std::string_view take_line(std::string_view& text) {
  const auto line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(line.size() + 1, text.size()));
  return line;
}

void check_hostile_client(bool binds, std::string_view said) {
  ScramServer server(kHash, mock_scram_secret("ann", kEndPoint, 4096, kHash), binds ? kEndPoint : Bytes(),
                     "NL0Jy9pfxO70R5rBaWNFtogp");
  const std::string_view mechanism = binds ? kScramSha256Plus : kScramSha256;
  auto answer = server.take_initial_response({mechanism, as_bytes(take_line(said))});
  while (answer && !said.empty()) answer = server.take_response(as_bytes(take_line(said)));
  require(!server.finished());
}

void check_hostile_server(bool binds, std::string_view said) {
  ScramClient client(kHash, {ChannelBinding::prefer, binds, binds ? kEndPoint : Bytes()}, "nonce");
  if (!client.start(scram_mechanisms(binds))) require(false);
  if (const auto salting = client.take_server_first(as_bytes(take_line(said)))) {
    require(salting->iterations >= 1 && salting->iterations <= kMaxScramIterations && !salting->salt.empty());
    require(client.answer(keys_of(SecretKey(), kHash)).has_value());
    require(!client.take_server_final(as_bytes(said)));
  }
  require(!client.finished());
}

// Runs an exchange between pgveil's client and server. `change` is written into message `which` at `place`;
// 0: no change.
void check_exchange(bool binds, std::size_t which, std::size_t place, char change, Bytes salt) {
  SecretKey salted_password;
  salted_password.bytes()[0] = 7;
  const Bytes end_point = binds ? kEndPoint : Bytes();
  ScramServer server(kHash, secret_of(salted_password, {4096, std::move(salt)}, kHash), end_point, "more");
  ScramClient client(kHash, {ChannelBinding::prefer, binds, end_point}, "nonce");
  std::size_t sent = 0;
  const auto over_the_wire = [&](std::string& message) {
    if (sent++ == which)
      message[place % message.size()] = static_cast<char>(message[place % message.size()] ^ change);
  };
  const auto converse = [&] {
    auto start = client.start(scram_mechanisms(binds));
    over_the_wire(start->client_first);
    auto server_first = server.take_initial_response({start->mechanism, as_bytes(start->client_first)});
    if (!server_first) return;
    over_the_wire(*server_first);
    if (!client.take_server_first(as_bytes(*server_first))) return;
    auto client_final = client.answer(keys_of(salted_password, kHash));
    over_the_wire(*client_final);
    auto server_final = server.take_response(as_bytes(*client_final));
    if (!server_final) return;
    over_the_wire(*server_final);
    (void)client.take_server_final(as_bytes(*server_final));
  };
  converse();
  require(client.finished() == (change == 0));
  require(server.finished() == (change == 0 || which == 3));
}

void check_secret(std::string_view text) {
  if (const auto secret = parse_scram_secret(text)) require(format_scram_secret(*secret) == text);
}

void check_base64(std::string_view text) {
  if (const auto bytes = decode_base64(text)) require(encode_base64(*bytes) == text);
  require(decode_base64(encode_base64(as_bytes(text))).has_value());
}

void check_password(std::string_view password) {
  const SecretText prepared = saslprep(password);
  const auto is_ascii = [](char one) { return static_cast<unsigned char>(one) < 0x80; };
  if (std::ranges::all_of(password, is_ascii)) require(prepared.view() == password);
  require(prepared.view().empty() == password.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) return 0;
  const bool binds = (data[0] & 1) != 0;
  const ByteView rest(data + 3, size - 3);
  const std::string_view text = as_text(rest);
  check_hostile_client(binds, text);
  check_hostile_server(binds, text);
  check_exchange(binds, data[0] >> 1 & 3, data[1], static_cast<char>(data[2]),
                 Bytes(rest.begin(), rest.end()));
  check_secret(text);
  check_base64(text);
  check_password(text);
  return 0;
}
