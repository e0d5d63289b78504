// The messages with which a server answers a query: those that pgveil sends for its admin database, and those that it reads
// (query_reader.h). Source: PostgreSQL 18, "Message Formats"; src/include/catalog/pg_type.dat.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/decoded.h"
#include "protocol/startup.h"

namespace pgveil::protocol {

inline constexpr char kRowDescription = 'T';
inline constexpr char kDataRow = 'D';
inline constexpr char kCommandComplete = 'C';
inline constexpr char kEmptyQueryResponse = 'I';

// The OID of a type.
enum class ColumnType : std::uint32_t { int8 = 20, text = 25, float8 = 701 };

struct Column {
  std::string name;
  ColumnType type = ColumnType::text;
  bool is_binary = false;  // the format of its values in messages
};

using Row = std::vector<std::optional<std::string>>;  // as text; nullopt: NULL

void encode_row_description(std::span<const Column> columns, Bytes& out);
// A value of a binary column of type int8 or float8 must be a number.
void encode_data_row(std::span<const Column> columns, const Row& row, Bytes& out);
// `tag`: for example "SHOW".
void encode_command_complete(std::string_view tag, Bytes& out);
void encode_empty_query_response(Bytes& out);
// The messages of the extended query protocol that have no body.
enum class ShortMessage : char {
  parse_complete = '1',
  bind_complete = '2',
  close_complete = '3',
  no_data = 'n',
  portal_suspended = 's'
};
void encode(ShortMessage message, Bytes& out);
// Of a statement without parameters.
void encode_parameter_description(Bytes& out);
// Of a server whose newest protocol version is `newest`. `unknown`: the client's options of the protocol that it ignores.
void encode_negotiate_protocol_version(ProtocolVersion newest, std::span<const std::string> unknown,
                                       Bytes& out);
void encode_parameter_status(std::string_view name, std::string_view value, Bytes& out);
// Outside a transaction.
void encode_ready_for_query(Bytes& out);

// Returns the names of the columns in the body of a RowDescription.
[[nodiscard]] tl::expected<std::vector<std::string>, DecodeError> decode_row_description(ByteView body);
// Returns the values in the body of a DataRow, in the format in which they were sent.
[[nodiscard]] tl::expected<Row, DecodeError> decode_data_row(ByteView body);
// Returns name and value in the body of a ParameterStatus.
[[nodiscard]] tl::expected<std::pair<std::string, std::string>, DecodeError> decode_parameter_status(
    ByteView body);
// Returns the newest version that the server supports, in the body of a NegotiateProtocolVersion. A server may send the minor
// number only, as the documentation says, or the whole version, as PostgreSQL does.
[[nodiscard]] tl::expected<ProtocolVersion, DecodeError> decode_negotiate_protocol_version(ByteView body);

}  // namespace pgveil::protocol
