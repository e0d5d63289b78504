#include "protocol/frontend.h"

namespace pgveil::protocol {
namespace {

constexpr std::uint32_t kNoData = 0xffffffff;  // -1: the client has sent no initial response

}  // namespace

void encode_terminate(Bytes& out) {
  ByteWriter writer(out);
  writer.write_uint8(kTerminate);
  writer.end_length(writer.begin_length());
}

void encode_query(std::string_view sql, Bytes& out) {
  ByteWriter writer(out);
  writer.write_uint8(kQuery);
  const std::size_t length = writer.begin_length();
  writer.write_c_string(sql);
  writer.end_length(length);
}

tl::expected<std::string_view, DecodeError> decode_password(ByteView body) {
  ByteReader in(body);
  const auto password = in.read_c_string();
  if (!password || !in.empty()) return tl::unexpected(DecodeError::bad_layout);
  return *password;
}

void encode_password(std::string_view password, Bytes& out) {
  ByteWriter writer(out);
  writer.write_uint8(kPasswordMessage);
  const std::size_t length = writer.begin_length();
  writer.write_c_string(password);
  writer.end_length(length);
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
  ByteWriter writer(out);
  writer.write_uint8(kPasswordMessage);
  const std::size_t length = writer.begin_length();
  writer.write_c_string(response.mechanism);
  writer.write_uint32(response.data ? static_cast<std::uint32_t>(response.data->size()) : kNoData);
  if (response.data) writer.write_bytes(*response.data);
  writer.end_length(length);
}

void encode_sasl_response(ByteView data, Bytes& out) {
  ByteWriter writer(out);
  writer.write_uint8(kPasswordMessage);
  const std::size_t length = writer.begin_length();
  writer.write_bytes(data);
  writer.end_length(length);
}

}  // namespace pgveil::protocol
