// Any bytes as a PROXY header. A header that arrives in pieces is decoded or refused as one that arrives at once, and at
// the earliest byte; and its addresses stay the same if they are encoded again.
#include <cstdint>

#include "protocol/proxy_header.h"
#include "tests/fuzz/require.h"

namespace {

using namespace pgveil::protocol;
using pgveil::fuzz::require;

void check_encoded(const ProxyHeader& header) {
  Bytes written;
  encode_proxy_header(header, std::nullopt, written);
  ByteReader in(written);
  const auto again = decode_proxy_header(in);
  require(again && again->has_value() && in.empty());
  require((*again)->addresses == header.addresses);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView bytes(data, size);
  ByteReader whole(bytes);
  const auto at_once = decode_proxy_header(whole);
  const std::size_t used = size - whole.remaining();
  if (!at_once || !at_once->has_value()) require(used == 0);
  if (at_once && !at_once->has_value()) require(size < kMaxProxyHeaderBytes);
  if (at_once && at_once->has_value()) {
    require(used <= kMaxProxyHeaderBytes);
    check_encoded(**at_once);
  }
  for (std::size_t piece = 0; piece <= size; ++piece) {
    ByteReader in(bytes.first(piece));
    const auto header = decode_proxy_header(in);
    if (!header) {
      require(!at_once && header.error() == at_once.error());
      return 0;
    }
    if (!header->has_value()) continue;
    require(at_once && at_once->has_value() && piece == used);
    require((*header)->addresses == (*at_once)->addresses);
    return 0;
  }
  require(at_once && !at_once->has_value());
  return 0;
}
