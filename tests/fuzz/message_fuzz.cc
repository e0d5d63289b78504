// The boundary tracker gets a stream in pieces and stores nothing of it. It must agree with the decoder,
// which has the complete stream.
#include <cstdint>
#include <limits>

#include "protocol/message.h"
#include "tests/fuzz/cuts.h"
#include "tests/fuzz/require.h"

namespace {

using namespace pgveil::protocol;
using pgveil::fuzz::Cuts;
using pgveil::fuzz::require;

constexpr std::size_t kPatternBytes = 4;

struct Place {
  bool at_boundary = false;
  bool lost = false;

  bool operator==(const Place&) const = default;
};

Place decoded(ByteView stream) {
  ByteReader in(stream);
  while (true) {
    const std::size_t left = in.remaining();
    const auto message = decode_message(in, std::numeric_limits<std::int32_t>::max());
    if (!message) return {.at_boundary = false, .lost = true};
    if (!message->has_value()) {
      require(in.remaining() == left);
      return {.at_boundary = in.empty(), .lost = false};
    }
    require((*message)->whole.size() == kMessageHeaderBytes + (*message)->body.size());
    require(in.remaining() + (*message)->whole.size() == left);
  }
}

Place followed(ByteView stream, Cuts cuts) {
  BoundaryTracker tracker;
  while (!stream.empty()) {
    const std::size_t piece = cuts.next(stream.size());
    tracker.follow(stream.first(piece));
    stream = stream.subspan(piece);
  }
  return {.at_boundary = tracker.at_boundary(), .lost = tracker.lost()};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < kPatternBytes) return 0;
  const ByteView bytes(data, size);
  const ByteView stream = bytes.subspan(kPatternBytes);
  const Place expected = decoded(stream);
  require(followed(stream, Cuts()) == expected);
  require(followed(stream, Cuts(bytes.first(kPatternBytes))) == expected);
  return 0;
}
