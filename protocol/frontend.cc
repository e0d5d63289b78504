#include "protocol/frontend.h"

namespace pgveil::protocol {

tl::expected<std::string_view, DecodeError> decode_sasl_mechanism_choice(ByteView body) {
  ByteReader reader(body);
  const auto mechanism = reader.read_c_string();
  if (!mechanism) return tl::unexpected(DecodeError::bad_layout);
  return *mechanism;
}

void encode_terminate(Bytes& out) {
  ByteWriter writer(out);
  writer.write_uint8(kTerminate);
  writer.end_length(writer.begin_length());
}

}  // namespace pgveil::protocol
