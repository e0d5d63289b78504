#include "protocol/backend.h"

#include <utility>

#include "protocol/message.h"

namespace pgveil::protocol {
namespace {

constexpr std::size_t kMinBackendKeyBytes = 4;

// libpq rejects a longer ErrorResponse before ReadyForQuery (src/interfaces/libpq/fe-connect.c, MAX_ERRLEN).
constexpr std::size_t kMaxErrorBytes = 29'999;
constexpr std::size_t kErrorFramingBytes = 5 + 6 * 2 + 1;  // header; type and NUL of six fields; terminator
constexpr std::size_t kMaxErrorTextBytes = kMaxErrorBytes - kErrorFramingBytes;
constexpr std::size_t kMaxErrorWordBytes = 64;  // severity and SQLSTATE, which are always short

// Returns `text` without NULs, cut to `max_bytes` between two UTF-8 characters.
std::string fitted(std::string_view text, std::size_t max_bytes) {
  std::string kept(text);
  std::erase(kept, '\0');
  if (kept.size() <= max_bytes) return kept;
  while (max_bytes > 0 && (static_cast<unsigned char>(kept[max_bytes]) & 0xc0) == 0x80) --max_bytes;
  kept.resize(max_bytes);
  return kept;
}

void write_error_field(char type, std::string_view text, ByteWriter& writer) {
  writer.write_uint8(static_cast<std::uint8_t>(type));
  writer.write_c_string(text);
}

}  // namespace

tl::expected<Authentication, DecodeError> decode_authentication(ByteView body) {
  ByteReader in(body);
  const auto code = in.read_uint32();
  if (!code) return tl::unexpected(DecodeError::bad_layout);
  return Authentication{static_cast<AuthenticationCode>(*code), in.rest()};
}

tl::expected<std::vector<std::string_view>, DecodeError> decode_sasl_mechanisms(ByteView data) {
  std::vector<std::string_view> mechanisms;
  ByteReader in(data);
  while (true) {
    const auto name = in.read_c_string();
    if (!name) return tl::unexpected(DecodeError::bad_layout);
    if (name->empty()) break;  // the terminator
    mechanisms.push_back(*name);
  }
  if (!in.empty()) return tl::unexpected(DecodeError::bad_layout);
  return mechanisms;
}

void encode_authentication_sasl(const std::vector<std::string_view>& mechanisms, Bytes& out) {
  encode_message(kAuthentication, out, [&](ByteWriter& writer) {
    writer.write_uint32(static_cast<std::uint32_t>(AuthenticationCode::sasl));
    for (const std::string_view name : mechanisms) writer.write_c_string(name);
    writer.write_uint8(0);
  });
}

tl::expected<CancelRequest, DecodeError> decode_backend_key_data(ByteView body) {
  ByteReader in(body);
  const auto process_id = in.read_uint32();
  if (!process_id || in.remaining() < kMinBackendKeyBytes || in.remaining() > kMaxCancelKeyBytes)
    return tl::unexpected(DecodeError::bad_length);
  return CancelRequest{*process_id, Bytes(in.rest().begin(), in.rest().end())};
}

tl::expected<ErrorFields, DecodeError> decode_error_fields(ByteView body) {
  ErrorFields fields;
  std::string localized_severity;
  ByteReader in(body);
  while (true) {
    const auto type = in.read_uint8();
    if (!type) return tl::unexpected(DecodeError::bad_layout);
    if (*type == 0) break;  // the terminator
    const auto text = in.read_c_string();
    if (!text) return tl::unexpected(DecodeError::bad_layout);
    switch (*type) {
      case 'S': localized_severity = *text; break;
      case 'V': fields.severity = *text; break;
      case 'C': fields.sqlstate = *text; break;
      case 'M': fields.message = *text; break;
      case 'D': fields.detail = *text; break;
      case 'H': fields.hint = *text; break;
      default: break;  // "Frontends should silently ignore fields of unrecognized type"
    }
  }
  if (!in.empty()) return tl::unexpected(DecodeError::bad_layout);
  // Servers before 9.6 send only the localized severity.
  if (fields.severity.empty()) fields.severity = std::move(localized_severity);
  return fields;
}

void encode_error_response(const ErrorFields& fields, Bytes& out) {
  const std::string severity = fitted(fields.severity, kMaxErrorWordBytes);
  const std::string sqlstate = fitted(fields.sqlstate, kMaxErrorWordBytes);
  std::size_t room = kMaxErrorTextBytes - 2 * severity.size() - sqlstate.size();
  const std::string message = fitted(fields.message, room);
  room -= message.size();
  const std::string hint = fitted(fields.hint, room);
  room -= hint.size();
  const std::string detail = fitted(fields.detail, room);

  encode_message(kErrorResponse, out, [&](ByteWriter& writer) {
    write_error_field('S', severity, writer);
    write_error_field('V', severity, writer);
    write_error_field('C', sqlstate, writer);
    write_error_field('M', message, writer);
    if (!detail.empty()) write_error_field('D', detail, writer);
    if (!hint.empty()) write_error_field('H', hint, writer);
    writer.write_uint8(0);
  });
}

void encode_old_error_response(std::string_view text, Bytes& out) {
  ByteWriter writer(out);
  writer.write_uint8(kErrorResponse);
  writer.write_c_string("FATAL:  " + fitted(text, kMaxErrorTextBytes) + '\n');
}

void encode_authentication(AuthenticationCode code, ByteView data, Bytes& out) {
  encode_message(kAuthentication, out, [&](ByteWriter& writer) {
    writer.write_uint32(static_cast<std::uint32_t>(code));
    writer.write_bytes(data);
  });
}

tl::expected<ByteView, DecodeError> decode_md5_salt(ByteView data) {
  if (data.size() != kMd5SaltBytes) return tl::unexpected(DecodeError::bad_length);
  return data;
}

}  // namespace pgveil::protocol
