// What can stand for a setting, and how each kind of value is read from text and shown as text. Shared by
// TOML, flags and variables, so that "15s" means the same everywhere.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "proxy/config/config.h"

namespace pgveil::proxy::values {

// A value before it is understood. Flags and variables have no types: all of theirs are `untyped`.
struct RawValue {
  enum class Kind { text, integer, boolean, list, untyped, other };
  Kind kind = Kind::untyped;
  std::string text;                     // "15s", "5432", "true"; empty for `list` and `other`
  std::vector<std::string> items = {};  // of a list of strings
};

struct Problem {
  std::string problem;
  std::string remedy;
};
template <class T>
using Read = tl::expected<T, Problem>;

// Each kind of value below has read(), its inverse show(), and type(): what the documentation calls it.

// Any text but the empty one: a key that is not wanted is left out.
struct Text {
  using Value = std::string;
  [[nodiscard]] static std::string type() { return "string"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value) { return value; }
};

struct Path : Text {
  [[nodiscard]] static std::string type() { return "path"; }
};

// A text that appears in no message.
struct Secret : Text {
  [[nodiscard]] static std::string show(const Value& value) { return value.empty() ? "" : "(secret)"; }
};

// true or false. Flags and variables may also say on/off, yes/no and 1/0, as PostgreSQL's do.
struct Boolean {
  using Value = bool;
  [[nodiscard]] static std::string type() { return "boolean"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(Value value) { return value ? "true" : "false"; }
};

[[nodiscard]] Read<std::int64_t> read_integer(const RawValue& raw, std::int64_t min, std::int64_t max);

template <class T, std::int64_t Min, std::int64_t Max>
struct Integer {
  using Value = T;
  [[nodiscard]] static std::string type() {
    return "integer, " + std::to_string(Min) + " to " + std::to_string(Max);
  }
  [[nodiscard]] static Read<Value> read(const RawValue& raw) {
    return read_integer(raw, Min, Max).map([](std::int64_t value) { return static_cast<Value>(value); });
  }
  [[nodiscard]] static std::string show(Value value) { return std::to_string(value); }
};

using Milliseconds = std::chrono::milliseconds;
inline constexpr std::int64_t kDay = 24LL * 60 * 60 * 1000;
// PostgreSQL's and the kernel's limit for milliseconds is that of an int; 24 days stay below it.
inline constexpr std::int64_t kLongest = 24 * kDay;

[[nodiscard]] Read<Milliseconds> read_duration(const RawValue& raw, Milliseconds min, Milliseconds max,
                                               Milliseconds step);
// In the largest unit that is exact: "500ms", "15s", "5min"; "0s".
[[nodiscard]] std::string show_duration(Milliseconds value);

// With a unit: ms, s, min, h, d. `T` says how fine: seconds take no "500ms".
template <class T, std::int64_t MinMilliseconds, std::int64_t MaxMilliseconds>
struct Duration {
  using Value = T;
  [[nodiscard]] static std::string type() {
    return "duration, " + show_duration(Milliseconds(MinMilliseconds)) + " to " +
           show_duration(Milliseconds(MaxMilliseconds));
  }
  [[nodiscard]] static Read<Value> read(const RawValue& raw) {
    return read_duration(raw, Milliseconds(MinMilliseconds), Milliseconds(MaxMilliseconds), Value(1))
        .map([](Milliseconds value) { return std::chrono::duration_cast<Value>(value); });
  }
  [[nodiscard]] static std::string show(Value value) { return show_duration(value); }
};

[[nodiscard]] Read<std::size_t> read_size(const RawValue& raw, std::size_t min, std::size_t max);
[[nodiscard]] std::string show_size(std::size_t bytes);

// With a unit: B, KiB, MiB, GiB.
template <std::size_t Min, std::size_t Max>
struct Size {
  using Value = std::size_t;
  [[nodiscard]] static std::string type() { return "size, " + show_size(Min) + " to " + show_size(Max); }
  [[nodiscard]] static Read<Value> read(const RawValue& raw) { return read_size(raw, Min, Max); }
  [[nodiscard]] static std::string show(Value value) { return show_size(value); }
};

// Octal in quotes, as PostgreSQL writes unix_socket_permissions: "0770".
struct Permissions {
  using Value = unsigned;
  [[nodiscard]] static std::string type() { return "octal string"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(Value value);
};

// What a listener waits on: "127.0.0.1:5432", "[::1]:5432", "[fe80::1%eth0]:5432", "localhost:5432"
// (127.0.0.1 and ::1), "unix:/run/pgveil/.s.PGSQL.5432" or "unix:@pgveil" (short for
// "unix:@pgveil/.s.PGSQL.5432").
struct ListenAddress {
  using Value = SocketAddress;
  [[nodiscard]] static std::string type() { return "address"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value);
};

// libpq's comma lists. An element of the first two may be empty where the other has one.
struct HostList {
  using Value = std::vector<std::string>;
  [[nodiscard]] static std::string type() { return "string, comma list"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value);
};

// What clients may call a server by SNI: "db.example.com", or "*.example.com" for one label in front.
struct ServerNameList {
  using Value = std::vector<std::string>;
  [[nodiscard]] static std::string type() { return "string, comma list"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value) { return HostList::show(value); }
};

struct NumericAddressList {
  using Value = std::vector<std::string>;
  [[nodiscard]] static std::string type() { return "string, comma list"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value) { return HostList::show(value); }
};

// Names with commas between them.
struct NameList {
  using Value = std::vector<std::string>;
  [[nodiscard]] static std::string type() { return "string, comma list"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value) { return HostList::show(value); }
};

// A program and its arguments, which no shell reads.
struct CommandWords {
  using Value = std::vector<std::string>;
  [[nodiscard]] static std::string type() { return "array of strings"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value);
};

// libpq's require_auth: "scram-sha-256,md5", or "!password".
struct AuthMethodList {
  using Value = AuthMethods;
  [[nodiscard]] static std::string type() { return "string, comma list"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(std::optional<Value> value) { return value ? value->text() : ""; }
};

struct PortList {
  using Value = std::vector<std::uint16_t>;
  [[nodiscard]] static std::string type() { return "integer, or string with a comma list"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value);
};

// What --upstream takes: host and port of each server in one word, "db01:5432,[::1]:5433,/run/postgresql".
struct HostsAndPorts {
  std::vector<std::string> hosts;
  std::vector<std::uint16_t> ports;
};
[[nodiscard]] Read<HostsAndPorts> read_hosts_and_ports(const RawValue& raw);

struct TlsVersion {
  using Value = tls::Version;
  [[nodiscard]] static std::string type() { return "`TLSv1`, `TLSv1.1`, `TLSv1.2` or `TLSv1.3`"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(Value value) { return std::string(tls::name_of(value)); }
  [[nodiscard]] static std::string show(std::optional<Value> value) { return value ? show(*value) : ""; }
};

// One of a few words. `Words` is a constexpr array of Word.
template <class Enum>
struct Word {
  std::string_view word;
  Enum value;
};

[[nodiscard]] std::string one_of(const std::vector<std::string_view>& words, std::string_view quote);
[[nodiscard]] Read<std::string> read_text(const RawValue& raw);
[[nodiscard]] std::string in_quotes(std::string_view text);

// Whether a value looks like a connection string that has a password in it: a URI with a user,
// "user:password@host", or "password=...". Such a value must appear in no message, nor a part of it.
[[nodiscard]] bool may_hold_password(std::string_view value);
// A message with asterisks for what may be such a password.
[[nodiscard]] std::string without_passwords(std::string_view message);

template <const auto& Words>
struct OneOf {
  using Value = decltype(Words[0].value);
  [[nodiscard]] static std::vector<std::string_view> words() {
    std::vector<std::string_view> all;
    for (const auto& word : Words) all.push_back(word.word);
    return all;
  }
  [[nodiscard]] static std::string type() { return one_of(words(), "`"); }
  [[nodiscard]] static Read<Value> read(const RawValue& raw) {
    const auto text = read_text(raw);
    if (!text) return tl::unexpected(text.error());
    for (const auto& word : Words)
      if (*text == word.word) return word.value;
    return tl::unexpected(
        Problem{in_quotes(*text) + " is no value of it", "Write " + one_of(words(), "\"") + "."});
  }
  [[nodiscard]] static std::string show(Value value) {
    for (const auto& word : Words)
      if (word.value == value) return std::string(word.word);
    return "";
  }
};

inline constexpr std::array kLogLevels{
    Word<LogLevel>{"debug", LogLevel::debug}, Word<LogLevel>{"info", LogLevel::info},
    Word<LogLevel>{"warning", LogLevel::warning}, Word<LogLevel>{"error", LogLevel::error}};
inline constexpr std::array kLogFormats{Word<LogFormat>{"text", LogFormat::text},
                                        Word<LogFormat>{"json", LogFormat::json}};
inline constexpr std::array kSaslMechanisms{Word<SaslMechanisms>{"strip", SaslMechanisms::strip},
                                            Word<SaslMechanisms>{"verbatim", SaslMechanisms::verbatim}};
inline constexpr std::array kListenerTls{Word<ListenerTls>{"require", ListenerTls::require},
                                         Word<ListenerTls>{"optional", ListenerTls::optional},
                                         Word<ListenerTls>{"off", ListenerTls::off}};
inline constexpr std::array kPlaintextCancels{Word<PlaintextCancel>{"allow", PlaintextCancel::allow},
                                              Word<PlaintextCancel>{"deny", PlaintextCancel::deny}};
inline constexpr std::array kRelayEngines{Word<RelayEngine>{"auto", RelayEngine::automatic},
                                          Word<RelayEngine>{"io_uring", RelayEngine::io_uring},
                                          Word<RelayEngine>{"epoll", RelayEngine::epoll}};
inline constexpr std::array kTlsRecords{Word<tls::Records>{"auto", tls::Records::automatic},
                                        Word<tls::Records>{"openssl", tls::Records::openssl},
                                        Word<tls::Records>{"own", tls::Records::own}};
inline constexpr std::array kClientIdentityIn{
    Word<ClientIdentityIn>{"application_name", ClientIdentityIn::application_name},
    Word<ClientIdentityIn>{"options", ClientIdentityIn::options}};
inline constexpr std::array kSslNegotiations{Word<SslNegotiation>{"postgres", SslNegotiation::postgres},
                                             Word<SslNegotiation>{"direct", SslNegotiation::direct}};
inline constexpr std::array kChannelBindings{
    Word<protocol::ChannelBinding>{"disable", protocol::ChannelBinding::disable},
    Word<protocol::ChannelBinding>{"prefer", protocol::ChannelBinding::prefer},
    Word<protocol::ChannelBinding>{"require", protocol::ChannelBinding::require}};
inline constexpr std::array kPostQuantum{Word<tls::PostQuantum>{"prefer", tls::PostQuantum::prefer},
                                         Word<tls::PostQuantum>{"require", tls::PostQuantum::require}};
inline constexpr std::array kCommonNameRules{
    Word<tls::CommonNameRule>{"fallback", tls::CommonNameRule::fallback},
    Word<tls::CommonNameRule>{"never", tls::CommonNameRule::never}};
inline constexpr std::array kSslModes{Word<SslMode>{"verify-full", SslMode::verify_full},
                                      Word<SslMode>{"disable", SslMode::disable}};

// Its default depends on whether there is a certificate.
struct ListenerTlsWord : OneOf<kListenerTls> {
  [[nodiscard]] static std::string show(std::optional<ListenerTls> value) {
    return value ? OneOf::show(*value) : "";
  }
};

// Says of libpq's other modes why there are none here.
struct SslModeWord : OneOf<kSslModes> {
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
};

// libpq's target_session_attrs: only "any" so far, which is libpq's default.
struct SessionAttributes {
  using Value = std::string;
  [[nodiscard]] static std::string type() { return "`any`"; }
  [[nodiscard]] static Read<Value> read(const RawValue& raw);
  [[nodiscard]] static std::string show(const Value& value) { return value; }
};

// The word of `candidates` that `word` was probably meant to be; empty where none is near.
[[nodiscard]] std::string_view nearest(std::string_view word,
                                       const std::vector<std::string_view>& candidates);

}  // namespace pgveil::proxy::values
