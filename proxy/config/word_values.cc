#include "proxy/config/word_values.h"

#include <algorithm>

namespace pgveil::proxy::values {

Read<tls::Version> TlsVersion::read(const RawValue& raw) {
  const auto text = read_text(raw);
  if (!text) return tl::unexpected(text.error());
  const auto version = tls::version_from_name(*text);
  if (!version)
    return invalid("invalid TLS version " + in_quotes(*text),
                   R"(Use "TLSv1.2" or "TLSv1.3". "TLSv1" and "TLSv1.1" are possible, too, but not secure.)");
  return *version;
}

Read<SslMode> SslModeWord::read(const RawValue& raw) {
  constexpr std::array<std::string_view, 4> kWithoutIdentity{"allow", "prefer", "require", "verify-ca"};
  if (std::find(kWithoutIdentity.begin(), kWithoutIdentity.end(), raw.text) != kWithoutIdentity.end())
    return invalid(
        in_quotes(raw.text) + " is not supported: it does not verify the identity of the server",
        R"(Use "verify-full" (the default), or "disable" for a Unix socket or a loopback address.)");
  return OneOf<kSslModes>::read(raw);
}

Read<std::string> SessionAttributes::read(const RawValue& raw) {
  const auto text = read_text(raw);
  if (!text) return tl::unexpected(text.error());
  if (*text != "any")
    return invalid(in_quotes(*text) + " is not supported: pgveil does not ask a server for its role",
                   R"(Use "any". A client whose driver supports this setting can ask the servers itself.)");
  return *text;
}

}  // namespace pgveil::proxy::values
