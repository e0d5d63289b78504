#include "proxy/admin/admin_queries.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>

#include "protocol/frontend.h"
#include "protocol/sqlstate.h"
#include "protocol/startup.h"
#include "proxy/session/startup_parameters.h"

namespace pgveil::proxy {
namespace {

namespace sqlstate = protocol::sqlstate;
using protocol::ByteReader;
using protocol::Bytes;
using protocol::ErrorFields;
using protocol::ShortMessage;

constexpr std::uint32_t kMaxMessageLength = 65'536;
// The text of a statement is short, but a portal keeps the rows that are not sent yet.
constexpr std::size_t kMaxStatementBytes = 1'024;
constexpr std::size_t kMaxStatements = 20;  // in one Query
constexpr std::size_t kMaxPrepared = 1'000;
constexpr std::size_t kMaxPortals = 10;
// What drivers need to read the answers. PostgreSQL's clients decide by the number of the version what they may ask for.
constexpr std::pair<const char*, const char*> kParameters[] = {{"server_version", "15.0 (pgveil)"},
                                                               {"server_encoding", "UTF8"},
                                                               {"client_encoding", "UTF8"},
                                                               {"DateStyle", "ISO, MDY"},
                                                               {"integer_datetimes", "on"},
                                                               {"standard_conforming_strings", "on"},
                                                               {"in_hot_standby", "off"},
                                                               {"default_transaction_read_only", "off"},
                                                               {"is_superuser", "off"},
                                                               {"TimeZone", "UTC"}};

void encode_fatal(std::string_view code, std::string_view message, Bytes& out) {
  ErrorFields fields = statement_error(code, message);
  fields.severity = "FATAL";
  protocol::encode_error_response(fields, out);
}

ErrorFields malformed() {
  return statement_error(sqlstate::kProtocolViolation, "invalid message");
}

// Returns the format codes in front of `in`: whether each is binary.
std::optional<std::vector<bool>> read_formats(ByteReader& in) {
  const auto count = in.read_uint16();
  if (!count) return std::nullopt;
  std::vector<bool> formats;
  for (unsigned i = 0; i < *count; ++i) {
    const auto format = in.read_uint16();
    if (!format || *format > 1) return std::nullopt;
    formats.push_back(*format == 1);
  }
  return formats;
}

void encode_rows(const ResultTable& table, std::size_t from, std::size_t to, Bytes& out) {
  for (std::size_t i = from; i < to; ++i) protocol::encode_data_row(table.columns, table.rows[i], out);
}

void encode_columns(const ResultTable& table, Bytes& out) {
  if (table.columns.empty()) return encode(ShortMessage::no_data, out);
  protocol::encode_row_description(table.columns, out);
}

void encode_end(const AdminStatements::Result& result, Bytes& out) {
  if (result.tag.empty()) return protocol::encode_empty_query_response(out);
  protocol::encode_command_complete(result.tag, out);
}

}  // namespace

AdminQueries::Progress AdminQueries::take(ByteReader& in, Bytes& out) {
  if (!has_started_) return start(in, out);
  if (has_statements()) {
    run_next_statement(out);
    return Progress::answered;
  }
  const auto decoded = protocol::decode_message(in, kMaxMessageLength);
  if (!decoded) {
    encode_fatal(sqlstate::kProtocolViolation, "invalid message length", out);
    return Progress::ended;
  }
  if (!decoded->has_value()) return Progress::waiting;
  return take_message(**decoded, out);
}

AdminQueries::Progress AdminQueries::take_message(const protocol::Message& message, Bytes& out) {
  switch (message.type) {
    case protocol::kTerminate: return Progress::ended;
    case protocol::kCopyData:
    case protocol::kCopyDone:
    case protocol::kCopyFail: return Progress::answered;  // the rest of a COPY that has failed
    case protocol::kSync:
      skips_to_sync_ = false;
      portals_.clear();
      protocol::encode_ready_for_query(out);
      return Progress::answered;
    default: break;
  }
  if (skips_to_sync_) return Progress::answered;
  switch (message.type) {
    case protocol::kQuery: query(message.body, out); return Progress::answered;
    case protocol::kFunctionCall:
      protocol::encode_error_response(
          statement_error(sqlstate::kFeatureNotSupported, "there are no functions"), out);
      protocol::encode_ready_for_query(out);
      return Progress::answered;
    case protocol::kParse:
    case protocol::kBind:
    case protocol::kDescribe:
    case protocol::kExecute:
    case protocol::kClose:
    case protocol::kFlush:
      if (const auto error = extended(message, out)) {
        protocol::encode_error_response(*error, out);
        skips_to_sync_ = true;
      }
      return Progress::answered;
    default:
      encode_fatal(sqlstate::kProtocolViolation, "invalid frontend message type", out);
      return Progress::ended;
  }
}

AdminQueries::Progress AdminQueries::start(ByteReader& in, Bytes& out) {
  const auto decoded = protocol::decode_startup_packet(in);
  if (!decoded) return Progress::ended;
  if (!decoded->has_value()) return Progress::waiting;
  const auto* startup = std::get_if<protocol::StartupMessage>(&**decoded);
  if (startup == nullptr) return Progress::ended;
  client_ = {.session = std::string(startup->find(kSessionParameter).value_or("")),
             .user = std::string(startup->user())};
  has_started_ = true;
  greet(*startup, out);
  for (const auto& [name, value] : kParameters) protocol::encode_parameter_status(name, value, out);
  protocol::encode_parameter_status("session_authorization", client_.user, out);
  protocol::encode_ready_for_query(out);
  return Progress::answered;
}

// No option of the protocol is known here.
void AdminQueries::greet(const protocol::StartupMessage& startup, Bytes& out) const {
  std::vector<std::string> unknown;
  for (const auto& [name, value] : startup.parameters)
    if (name.starts_with("_pq_.")) unknown.push_back(name);
  if (startup.version > protocol::kProtocol32 || !unknown.empty())
    protocol::encode_negotiate_protocol_version(std::min(startup.version, protocol::kProtocol32), unknown,
                                                out);
  protocol::encode_authentication(protocol::AuthenticationCode::ok, {}, out);
}

// Each statement is run in a turn of its own, once the answer to the one before is written.
void AdminQueries::query(protocol::ByteView body, Bytes& out) {
  ByteReader in(body);
  const auto text = in.read_c_string();
  if (!text) {
    protocol::encode_error_response(malformed(), out);
    return protocol::encode_ready_for_query(out);
  }
  auto statements = split_statements(*text);
  if (statements.size() > kMaxStatements) {
    protocol::encode_error_response(
        statement_error(sqlstate::kProgramLimitExceeded, "too many statements in one query"), out);
    return protocol::encode_ready_for_query(out);
  }
  if (statements.empty()) {
    protocol::encode_empty_query_response(out);
    return protocol::encode_ready_for_query(out);
  }
  statements_left_.assign(std::make_move_iterator(statements.begin()),
                          std::make_move_iterator(statements.end()));
}

// The statements of one Query run until one of them fails.
void AdminQueries::run_next_statement(Bytes& out) {
  const std::string statement = std::move(statements_left_.front());
  statements_left_.pop_front();
  const auto result = statements_.run(statement, client_);
  if (!result) {
    statements_left_.clear();
    protocol::encode_error_response(result.error(), out);
  } else {
    if (!result->table.columns.empty()) protocol::encode_row_description(result->table.columns, out);
    encode_rows(result->table, 0, result->table.rows.size(), out);
    encode_end(*result, out);
  }
  if (!has_statements()) protocol::encode_ready_for_query(out);
}

AdminQueries::Error AdminQueries::extended(const protocol::Message& message, Bytes& out) {
  const ByteReader body(message.body);
  switch (message.type) {
    case protocol::kParse: return parse(body, out);
    case protocol::kBind: return bind(body, out);
    case protocol::kDescribe: return describe(body, out);
    case protocol::kExecute: return execute(body, out);
    case protocol::kClose: return close(body, out);
    default: return std::nullopt;  // Flush: nothing is held back
  }
}

AdminQueries::Error AdminQueries::parse(ByteReader body, Bytes& out) {
  const auto name = body.read_c_string();
  const auto statement = name ? body.read_c_string() : std::nullopt;
  if (!statement) return malformed();
  if (statement->size() > kMaxStatementBytes || name->size() > protocol::kMaxNameBytes)
    return statement_error(sqlstate::kProgramLimitExceeded, "the statement or its name is too long");
  auto statements = split_statements(*statement);
  if (statements.size() > 1)
    return statement_error(sqlstate::kSyntaxError,
                           "cannot insert multiple commands into a prepared statement");
  if (prepared_.size() >= kMaxPrepared && !prepared_.contains(*name))
    return statement_error(sqlstate::kProgramLimitExceeded, "too many prepared statements");
  prepared_.insert_or_assign(std::string(*name), statements.empty() ? "" : std::move(statements.front()));
  encode(ShortMessage::parse_complete, out);
  return std::nullopt;
}

AdminQueries::Error AdminQueries::bind(ByteReader body, Bytes& out) {
  const auto portal = body.read_c_string();
  const auto name = portal ? body.read_c_string() : std::nullopt;
  const auto parameter_formats = name ? read_formats(body) : std::nullopt;
  const auto parameters = parameter_formats ? body.read_uint16() : std::nullopt;
  if (!parameters) return malformed();
  if (*parameters > 0)
    return statement_error(sqlstate::kFeatureNotSupported,
                           "statements of the admin database have no parameters");
  auto formats = read_formats(body);
  if (!formats) return malformed();
  const auto statement = prepared_.find(*name);
  if (statement == prepared_.end())
    return statement_error(sqlstate::kUndefinedStatement, "there is no such prepared statement");
  if (portal->size() > protocol::kMaxNameBytes)
    return statement_error(sqlstate::kProgramLimitExceeded, "the name of the portal is too long");
  if (portals_.size() >= kMaxPortals && !portals_.contains(*portal))
    return statement_error(sqlstate::kProgramLimitExceeded, "too many portals");
  portals_.insert_or_assign(
      std::string(*portal),
      Portal{.statement = statement->second, .binary_results = *std::move(formats), .result = std::nullopt});
  encode(ShortMessage::bind_complete, out);
  return std::nullopt;
}

// The columns of a statement are known once it has run. An order returns no rows, so it is not run here.
AdminQueries::Error AdminQueries::describe(ByteReader body, Bytes& out) {
  const auto kind = body.read_uint8();
  const auto name = kind ? body.read_c_string() : std::nullopt;
  if (!name) return malformed();
  if (*kind == 'S') {
    const auto found = prepared_.find(*name);
    if (found == prepared_.end())
      return statement_error(sqlstate::kUndefinedStatement, "there is no such prepared statement");
    Portal portal{.statement = found->second, .binary_results = {}, .result = std::nullopt};
    if (AdminStatements::returns_rows(portal.statement))
      if (auto failure = run(portal)) return failure;
    protocol::encode_parameter_description(out);
    encode_columns(portal.result ? portal.result->table : ResultTable(), out);
    return std::nullopt;
  }
  const auto found = portals_.find(*name);
  if (found == portals_.end()) return statement_error(sqlstate::kUndefinedPortal, "there is no such portal");
  Portal& portal = found->second;
  if (AdminStatements::returns_rows(portal.statement) && !portal.result)
    if (auto failure = run(portal)) return failure;
  encode_columns(portal.result ? portal.result->table : ResultTable(), out);
  return std::nullopt;
}

AdminQueries::Error AdminQueries::run(Portal& portal) {
  auto result = statements_.run(portal.statement, client_);
  if (!result) return std::move(result).error();
  portal.result = *std::move(result);
  auto& columns = portal.result->table.columns;
  const auto& binary = portal.binary_results;
  for (std::size_t i = 0; i < columns.size() && !binary.empty(); ++i)
    columns[i].is_binary = binary[binary.size() == 1 ? 0 : std::min(i, binary.size() - 1)];
  return std::nullopt;
}

AdminQueries::Error AdminQueries::execute(ByteReader body, Bytes& out) {
  const auto name = body.read_c_string();
  const auto max_rows = name ? body.read_uint32() : std::nullopt;
  if (!max_rows) return malformed();
  const auto found = portals_.find(*name);
  if (found == portals_.end()) return statement_error(sqlstate::kUndefinedPortal, "there is no such portal");
  Portal& portal = found->second;
  if (!portal.result)
    if (auto failure = run(portal)) return failure;
  const std::size_t rows = portal.result->table.rows.size();
  const std::size_t end = *max_rows == 0 ? rows : std::min<std::size_t>(rows, portal.sent + *max_rows);
  encode_rows(portal.result->table, std::exchange(portal.sent, end), end, out);
  if (end < rows) {
    encode(ShortMessage::portal_suspended, out);
  } else {
    encode_end(*portal.result, out);
    std::vector<protocol::Row>().swap(portal.result->table.rows);
    portal.sent = 0;
  }
  return std::nullopt;
}

AdminQueries::Error AdminQueries::close(ByteReader body, Bytes& out) {
  const auto kind = body.read_uint8();
  const auto name = kind ? body.read_c_string() : std::nullopt;
  if (!name) return malformed();
  if (*kind == 'S')
    prepared_.erase(std::string(*name));
  else
    portals_.erase(std::string(*name));
  encode(ShortMessage::close_complete, out);
  return std::nullopt;
}

}  // namespace pgveil::proxy
