// Settings whose value is one of a few words.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/scram_client.h"
#include "proxy/config/config.h"
#include "proxy/config/values.h"
#include "tls/settings.h"

namespace pgveil::proxy::values {

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
    return invalid("invalid value " + in_quotes(*text), "Use " + one_of(words(), "\"") + ".");
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
inline constexpr std::array kAuditTargets{
    Word<AuditTarget>{"none", AuditTarget::none}, Word<AuditTarget>{"file", AuditTarget::file},
    Word<AuditTarget>{"journald", AuditTarget::journald}, Word<AuditTarget>{"syslog", AuditTarget::syslog},
    Word<AuditTarget>{"stdout", AuditTarget::standard_output}};
inline constexpr std::array kAuditFailures{Word<AuditFailure>{"closed", AuditFailure::closed},
                                           Word<AuditFailure>{"open", AuditFailure::open}};
inline constexpr std::array kSyslogFacilities{Word<SyslogFacility>{"authpriv", SyslogFacility::authpriv},
                                              Word<SyslogFacility>{"auth", SyslogFacility::auth},
                                              Word<SyslogFacility>{"daemon", SyslogFacility::daemon},
                                              Word<SyslogFacility>{"user", SyslogFacility::user},
                                              Word<SyslogFacility>{"local0", SyslogFacility::local0},
                                              Word<SyslogFacility>{"local1", SyslogFacility::local1},
                                              Word<SyslogFacility>{"local2", SyslogFacility::local2},
                                              Word<SyslogFacility>{"local3", SyslogFacility::local3},
                                              Word<SyslogFacility>{"local4", SyslogFacility::local4},
                                              Word<SyslogFacility>{"local5", SyslogFacility::local5},
                                              Word<SyslogFacility>{"local6", SyslogFacility::local6},
                                              Word<SyslogFacility>{"local7", SyslogFacility::local7}};
inline constexpr std::array kSaslMechanisms{Word<SaslMechanisms>{"strip", SaslMechanisms::strip},
                                            Word<SaslMechanisms>{"verbatim", SaslMechanisms::verbatim}};
inline constexpr std::array kListenerTls{Word<ListenerTls>{"require", ListenerTls::require},
                                         Word<ListenerTls>{"optional", ListenerTls::optional},
                                         Word<ListenerTls>{"off", ListenerTls::off}};
inline constexpr std::array kPlaintextCancels{Word<PlaintextCancel>{"allow", PlaintextCancel::allow},
                                              Word<PlaintextCancel>{"deny", PlaintextCancel::deny}};
inline constexpr std::array kProxyProtocols{Word<ProxyProtocol>{"required", ProxyProtocol::required},
                                            Word<ProxyProtocol>{"optional", ProxyProtocol::optional}};
inline constexpr std::array kRelayEngines{Word<RelayEngine>{"auto", RelayEngine::automatic},
                                          Word<RelayEngine>{"io_uring", RelayEngine::io_uring},
                                          Word<RelayEngine>{"epoll", RelayEngine::epoll}};
inline constexpr std::array kTlsRecords{Word<tls::Records>{"auto", tls::Records::automatic},
                                        Word<tls::Records>{"openssl", tls::Records::openssl},
                                        Word<tls::Records>{"own", tls::Records::own}};
inline constexpr std::array kReloadSessions{Word<ReloadSessions>{"keep", ReloadSessions::keep},
                                            Word<ReloadSessions>{"revalidate", ReloadSessions::revalidate}};
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

}  // namespace pgveil::proxy::values
