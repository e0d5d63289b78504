#include "protocol/frontend.h"

#include "protocol/message.h"

namespace pgveil::protocol {
namespace {

constexpr std::uint32_t kNoData = 0xffffffff;  // -1: the client has sent no initial response

}  // namespace

void encode_terminate(Bytes& out) {
  encode_message(kTerminate, out, [](ByteWriter&) {});
}

void encode_query(std::string_view sql, Bytes& out) {
  encode_message(kQuery, out, [&](ByteWriter& writer) { writer.write_c_string(sql); });
}

tl::expected<std::string_view, DecodeError> decode_password(ByteView body) {
  ByteReader in(body);
  const auto password = in.read_c_string();
  if (!password || !in.empty()) return tl::unexpected(DecodeError::bad_layout);
  return *password;
}

void encode_password(std::string_view password, Bytes& out) {
  encode_message(kPasswordMessage, out, [&](ByteWriter& writer) { writer.write_c_string(password); });
}

tl::expected<SaslInitialResponse, DecodeError> decode_sasl_initial_response(ByteView body) {
  ByteReader in(body);
  const auto mechanism = in.read_c_string();
  if (!mechanism) return tl::unexpected(DecodeError::bad_layout);
  const auto size = in.read_uint32();
  if (!size) return tl::unexpected(DecodeError::bad_layout);

  SaslInitialResponse response{*mechanism, std::nullopt};
  if (*size != kNoData) response.data = in.read_bytes(*size);
  if ((*size != kNoData && !response.data) || !in.empty()) return tl::unexpected(DecodeError::bad_layout);
  return response;
}

void encode_sasl_initial_response(const SaslInitialResponse& response, Bytes& out) {
  encode_message(kPasswordMessage, out, [&](ByteWriter& writer) {
    writer.write_c_string(response.mechanism);
    writer.write_uint32(response.data ? static_cast<std::uint32_t>(response.data->size()) : kNoData);
    if (response.data) writer.write_bytes(*response.data);
  });
}

void encode_sasl_response(ByteView data, Bytes& out) {
  encode_message(kPasswordMessage, out, [&](ByteWriter& writer) { writer.write_bytes(data); });
}

}  // namespace pgveil::protocol
