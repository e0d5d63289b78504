#include "protocol/query_result.h"

#include <bit>
#include <cstdlib>

#include "protocol/backend.h"
#include "protocol/message.h"

namespace pgveil::protocol {
namespace {

constexpr char kParameterDescription = 't';
constexpr std::uint8_t kOutsideTransaction = 'I';
constexpr std::uint32_t kNull = 0xffff'ffff;  // -1, in place of the length of a value
constexpr std::uint16_t kVariableLength = 0xffff;
constexpr std::uint16_t kEightBytes = 8;
constexpr std::uint32_t kNoTypeModifier = 0xffff'ffff;

void write_value(ByteView value, ByteWriter& writer) {
  writer.write_uint32(static_cast<std::uint32_t>(value.size()));
  writer.write_bytes(value);
}

// Returns the eight bytes of a number, the highest first.
Bytes binary_of(ColumnType type, const std::string& number) {
  constexpr unsigned kByteBits = 8;
  const std::uint64_t bits = type == ColumnType::float8
                                 ? std::bit_cast<std::uint64_t>(std::strtod(number.c_str(), nullptr))
                                 : static_cast<std::uint64_t>(std::strtoll(
                                       number.c_str(), nullptr, 10));  // NOLINT(google-runtime-int)
  Bytes bytes(sizeof bits);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(bits >> (kByteBits * (bytes.size() - 1 - i)));
  return bytes;
}

}  // namespace

void encode_row_description(std::span<const Column> columns, Bytes& out) {
  encode_message(kRowDescription, out, [&](ByteWriter& writer) {
    writer.write_uint16(static_cast<std::uint16_t>(columns.size()));
    for (const Column& column : columns) {
      writer.write_c_string(column.name);
      writer.write_uint32(0);  // the column is of no table
      writer.write_uint16(0);  // and has no number in it
      writer.write_uint32(static_cast<std::uint32_t>(column.type));
      writer.write_uint16(column.type == ColumnType::text ? kVariableLength : kEightBytes);
      writer.write_uint32(kNoTypeModifier);
      writer.write_uint16(column.is_binary ? 1 : 0);
    }
  });
}

void encode_data_row(std::span<const Column> columns, const Row& row, Bytes& out) {
  encode_message(kDataRow, out, [&](ByteWriter& writer) {
    writer.write_uint16(static_cast<std::uint16_t>(row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (!row[i])
        writer.write_uint32(kNull);
      else if (!columns[i].is_binary || columns[i].type == ColumnType::text)
        write_value(as_bytes(*row[i]), writer);
      else
        write_value(binary_of(columns[i].type, *row[i]), writer);
    }
  });
}

void encode_command_complete(std::string_view tag, Bytes& out) {
  encode_message(kCommandComplete, out, [&](ByteWriter& writer) { writer.write_c_string(tag); });
}

void encode_empty_query_response(Bytes& out) {
  encode_message(kEmptyQueryResponse, out, [](ByteWriter&) {});
}

void encode(ShortMessage message, Bytes& out) {
  encode_message(static_cast<char>(message), out, [](ByteWriter&) {});
}

void encode_parameter_description(Bytes& out) {
  encode_message(kParameterDescription, out, [](ByteWriter& writer) { writer.write_uint16(0); });
}

void encode_negotiate_protocol_version(ProtocolVersion newest, std::span<const std::string> unknown,
                                       Bytes& out) {
  encode_message(kNegotiateProtocolVersion, out, [&](ByteWriter& writer) {
    writer.write_uint32(newest);
    writer.write_uint32(static_cast<std::uint32_t>(unknown.size()));
    for (const std::string& option : unknown) writer.write_c_string(option);
  });
}

void encode_parameter_status(std::string_view name, std::string_view value, Bytes& out) {
  encode_message(kParameterStatus, out, [&](ByteWriter& writer) {
    writer.write_c_string(name);
    writer.write_c_string(value);
  });
}

void encode_ready_for_query(Bytes& out) {
  encode_message(kReadyForQuery, out, [](ByteWriter& writer) { writer.write_uint8(kOutsideTransaction); });
}

tl::expected<std::vector<std::string>, DecodeError> decode_row_description(ByteView body) {
  constexpr std::size_t kRestOfColumn = 18;  // table, number, type, size, modifier, format
  ByteReader in(body);
  const auto count = in.read_uint16();
  if (!count) return tl::unexpected(DecodeError::bad_layout);
  std::vector<std::string> names;
  for (std::uint16_t i = 0; i < *count; ++i) {
    const auto name = in.read_c_string();
    if (!name || !in.read_bytes(kRestOfColumn)) return tl::unexpected(DecodeError::bad_layout);
    names.emplace_back(*name);
  }
  if (!in.empty()) return tl::unexpected(DecodeError::bad_layout);
  return names;
}

tl::expected<Row, DecodeError> decode_data_row(ByteView body) {
  ByteReader in(body);
  const auto count = in.read_uint16();
  if (!count) return tl::unexpected(DecodeError::bad_layout);
  Row row;
  for (std::uint16_t i = 0; i < *count; ++i) {
    const auto size = in.read_uint32();
    if (!size) return tl::unexpected(DecodeError::bad_layout);
    if (*size == kNull) {
      row.emplace_back(std::nullopt);
      continue;
    }
    const auto value = in.read_bytes(*size);
    if (!value) return tl::unexpected(DecodeError::bad_layout);
    row.emplace_back(std::string(as_text(*value)));
  }
  if (!in.empty()) return tl::unexpected(DecodeError::bad_layout);
  return row;
}

tl::expected<std::pair<std::string, std::string>, DecodeError> decode_parameter_status(ByteView body) {
  ByteReader in(body);
  const auto name = in.read_c_string();
  const auto value = in.read_c_string();
  if (!name || !value || !in.empty()) return tl::unexpected(DecodeError::bad_layout);
  return std::pair(std::string(*name), std::string(*value));
}

tl::expected<ProtocolVersion, DecodeError> decode_negotiate_protocol_version(ByteView body) {
  ByteReader in(body);
  const auto version = in.read_uint32();
  if (!version) return tl::unexpected(DecodeError::bad_layout);
  return protocol_major(*version) == 0 ? make_protocol_version(3, *version) : *version;
}

}  // namespace pgveil::protocol
