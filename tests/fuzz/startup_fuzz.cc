// Any bytes as a startup packet. If a packet is accepted and encoded again, it must have the same bytes: so a
// server cannot interpret it differently than pgveil.
#include <algorithm>
#include <cstdint>
#include <variant>

#include "protocol/startup.h"
#include "tests/fuzz/require.h"

namespace {

using namespace pgveil::protocol;
using pgveil::fuzz::require;

void check(const CancelRequest& request, ByteView sent) {
  Bytes written;
  encode_cancel_request(request, written);
  require(std::ranges::equal(written, sent));
}

void check(const StartupMessage& message, ByteView sent) {
  const auto defect = find_startup_defect(message);
  if (defect == StartupDefect::unsupported_version) {
    require(message.parameters.empty());
    return;
  }
  if (!defect) require(!message.user().empty() && message.database().size() <= kMaxNameBytes);
  require(fits_startup_packet(message));
  Bytes written;
  encode_startup_message(message, written);
  require(std::ranges::equal(written, sent));
}

// A request has only its code; further bytes of its packet are ignored.
void check(SslRequest, ByteView sent) {
  require(ByteReader(sent.subspan(4)).read_uint32() == kSslRequestCode);
}

void check(GssEncRequest, ByteView sent) {
  require(ByteReader(sent.subspan(4)).read_uint32() == kGssEncRequestCode);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView bytes(data, size);
  ByteReader in(bytes);
  const auto packet = decode_startup_packet(in);
  if (!packet) return 0;
  if (!packet->has_value()) {
    require(in.remaining() == size);
    require(size < sizeof(std::uint32_t) + kMaxStartupBodyBytes);
    return 0;
  }
  const ByteView sent = bytes.first(size - in.remaining());
  std::visit([sent](const auto& each) { check(each, sent); }, **packet);
  return 0;
}
