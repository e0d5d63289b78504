#include "protocol/upstream_greeting.h"

#include "protocol/startup.h"

namespace pgveil::protocol {

void UpstreamGreeting::begin(Bytes& out) const {
  encode_ssl_request(out);
}

UpstreamGreeting::Answer UpstreamGreeting::receive(ByteView bytes) {
  if (bytes.empty()) return Answer::more;
  answer_byte_ = bytes.front();
  const bool alone = bytes.size() == 1;
  switch (answer_byte_) {
    case 'S': return alone ? Answer::accepted : Answer::early_bytes;
    case 'N': return alone ? Answer::refused : Answer::early_bytes;
    case 'E': return Answer::error_response;  // more bytes are the rest of the message
    default: return Answer::unexpected_byte;  // others, such as an HTTP server, also send more than one byte
  }
}

}  // namespace pgveil::protocol
