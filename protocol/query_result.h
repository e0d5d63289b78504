// The messages with which a server answers a query: those that pgveil sends for its admin database. Source: PostgreSQL 18, "Message Formats"; src/include/catalog/pg_type.dat.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/startup.h"

namespace pgveil::protocol {

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

}  // namespace pgveil::protocol
