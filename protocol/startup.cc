#include "protocol/startup.h"

#include <algorithm>
#include <cassert>

namespace pgveil::protocol {
namespace {

constexpr std::uint32_t kLengthBytes = 4;
constexpr std::uint32_t kCodeBytes = 4;

using DecodedBody = tl::expected<StartupPacket, DecodeError>;

DecodedBody decode_cancel_request(ByteReader body) {
  const auto process_id = body.read_uint32();
  if (!process_id || body.empty() || body.remaining() > kMaxCancelKeyBytes)
    return tl::unexpected(DecodeError::bad_length);
  return CancelRequest{*process_id, Bytes(body.rest().begin(), body.rest().end())};
}

DecodedBody decode_startup_message(ProtocolVersion version, ByteReader body) {
  StartupMessage message{version, {}};
  if (protocol_major(version) != protocol_major(kProtocol30)) return message;

  while (true) {
    const auto name = body.read_c_string();
    if (!name) return tl::unexpected(DecodeError::bad_layout);
    if (name->empty()) break;  // the terminator
    const auto value = body.read_c_string();
    if (!value) return tl::unexpected(DecodeError::bad_layout);
    message.parameters.emplace_back(*name, *value);
  }
  if (!body.empty()) return tl::unexpected(DecodeError::bad_layout);
  return message;
}

DecodedBody decode_body(ByteReader body) {
  const ProtocolVersion code = *body.read_uint32();
  switch (code) {
    case kSslRequestCode: return SslRequest{};
    case kGssEncRequestCode: return GssEncRequest{};
    case kCancelRequestCode: return decode_cancel_request(body);
    default: return decode_startup_message(code, body);
  }
}

char to_lower_ascii(char character) {
  return character >= 'A' && character <= 'Z' ? static_cast<char>(character - 'A' + 'a') : character;
}

// Returns whether `text` is `word`, or a prefix of it with at least `min_bytes`, ignoring case.
bool abbreviates(std::string_view text, std::string_view word, std::size_t min_bytes) {
  return text.size() >= min_bytes && text.size() <= word.size() &&
         std::equal(text.begin(), text.end(), word.begin(),
                    [](char left, char right) { return to_lower_ascii(left) == right; });
}

// Parses as parse_bool() in src/backend/utils/adt/bool.c does: one letter is enough, except that `o` could be
// "on" or "off".
bool is_true(std::string_view text) {
  return abbreviates(text, "true", 1) || abbreviates(text, "yes", 1) || abbreviates(text, "on", 2) ||
         text == "1";
}
bool is_false(std::string_view text) {
  return abbreviates(text, "false", 1) || abbreviates(text, "no", 1) || abbreviates(text, "off", 2) ||
         text == "0";
}

bool has_invalid_replication(const StartupMessage& message) {
  return std::any_of(message.parameters.begin(), message.parameters.end(), [](const auto& parameter) {
    const auto& [name, value] = parameter;
    return name == "replication" && value != "database" && !is_true(value) && !is_false(value);
  });
}

bool has_duplicate(const StartupMessage& message) {
  constexpr std::string_view kOnce[] = {"user", "database", "replication", "options"};
  return std::any_of(std::begin(kOnce), std::end(kOnce), [&](std::string_view once) {
    return std::count_if(message.parameters.begin(), message.parameters.end(),
                         [&](const auto& parameter) { return parameter.first == once; }) > 1;
  });
}

std::size_t body_bytes(const StartupMessage& message) {
  std::size_t bytes = kCodeBytes;
  for (const auto& [name, value] : message.parameters) bytes += name.size() + 1 + value.size() + 1;
  return bytes + 1;
}

}  // namespace

Decoded<StartupPacket> decode_startup_packet(ByteReader& in) {
  ByteReader ahead = in;
  const auto length = ahead.read_uint32();
  if (!length) return std::nullopt;
  if (*length < kLengthBytes + kCodeBytes || *length > kLengthBytes + kMaxStartupBodyBytes)
    return tl::unexpected(DecodeError::bad_length);
  const auto body = ahead.read_bytes(*length - kLengthBytes);
  if (!body) return std::nullopt;
  in = ahead;
  return decode_body(ByteReader(*body));
}

std::optional<std::string_view> StartupMessage::find(std::string_view name) const {
  const auto found = std::find_if(parameters.rbegin(), parameters.rend(),
                                  [&](const auto& parameter) { return parameter.first == name; });
  if (found == parameters.rend()) return std::nullopt;
  return found->second;
}

std::string_view StartupMessage::user() const {
  return find("user").value_or("");
}

std::string_view StartupMessage::database() const {
  const std::string_view asked = find("database").value_or("");
  return asked.empty() ? user() : asked;
}

bool StartupMessage::is_physical_replication() const {
  const auto value = find("replication");
  return value && is_true(*value);
}

void StartupMessage::set(std::string_view name, std::string value) {
  const auto is_named = [&](const auto& parameter) { return parameter.first == name; };
  const auto first = std::find_if(parameters.begin(), parameters.end(), is_named);
  if (first == parameters.end()) {
    parameters.emplace_back(name, std::move(value));
    return;
  }
  first->second = std::move(value);
  parameters.erase(std::remove_if(first + 1, parameters.end(), is_named), parameters.end());
}

// Checks first, in the server's order, what the server would refuse, so that the client gets the same error
// as from the server. Then checks what the server would accept and pgveil does not.
std::string_view message_of(StartupDefect defect) {
  switch (defect) {
    case StartupDefect::unsupported_version: return "unsupported frontend protocol";
    case StartupDefect::no_user: return "no PostgreSQL user name specified in startup packet";
    case StartupDefect::duplicate_parameter:
      return "invalid startup packet: a parameter that decides about access stands twice";
    case StartupDefect::name_too_long:
      return "invalid startup packet: the user or database name is longer than 63 bytes";
    case StartupDefect::invalid_replication: return "invalid value for parameter \"replication\"";
  }
  return "invalid startup packet";
}

std::optional<StartupDefect> find_startup_defect(const StartupMessage& message, bool user_may_be_missing) {
  if (protocol_major(message.version) != protocol_major(kProtocol30))
    return StartupDefect::unsupported_version;
  if (has_invalid_replication(message)) return StartupDefect::invalid_replication;
  if (message.user().empty() && !user_may_be_missing) return StartupDefect::no_user;
  if (has_duplicate(message)) return StartupDefect::duplicate_parameter;
  if (message.user().size() > kMaxNameBytes || message.database().size() > kMaxNameBytes)
    return StartupDefect::name_too_long;
  return std::nullopt;
}

void encode_startup_message(const StartupMessage& message, Bytes& out) {
  ByteWriter writer(out);
  const std::size_t length = writer.begin_length();
  writer.write_uint32(message.version);
  for (const auto& [name, value] : message.parameters) {
    assert(!name.empty());  // an empty name would be read as the terminator
    writer.write_c_string(name);
    writer.write_c_string(value);
  }
  writer.write_uint8(0);
  writer.end_length(length);
}

void encode_cancel_request(const CancelRequest& request, Bytes& out) {
  assert(!request.key.empty() && request.key.size() <= kMaxCancelKeyBytes);
  ByteWriter writer(out);
  const std::size_t length = writer.begin_length();
  writer.write_uint32(kCancelRequestCode);
  writer.write_uint32(request.process_id);
  writer.write_bytes(request.key);
  writer.end_length(length);
}

void encode_ssl_request(Bytes& out) {
  ByteWriter writer(out);
  const std::size_t length = writer.begin_length();
  writer.write_uint32(kSslRequestCode);
  writer.end_length(length);
}

void encode_gss_enc_request(Bytes& out) {
  ByteWriter writer(out);
  const std::size_t length = writer.begin_length();
  writer.write_uint32(kGssEncRequestCode);
  writer.end_length(length);
}

bool fits_startup_packet(const StartupMessage& message) {
  return body_bytes(message) <= kMaxStartupBodyBytes;
}

}  // namespace pgveil::protocol
