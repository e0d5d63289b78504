#include "protocol/frontend.h"

namespace pgveil::protocol {

void encode_terminate(Bytes& out) {
  ByteWriter writer(out);
  writer.write_uint8(kTerminate);
  writer.end_length(writer.begin_length());
}

}  // namespace pgveil::protocol
