#include "proxy/commands/certs_usage.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

namespace pgveil::proxy {
namespace {

// For TOML `"`, for postgresql.conf and libpq `'`: a backslash escapes in all of them.
std::string backslash_quoted(const std::string& text, char quote) {
  std::string quoted(1, quote);
  for (const char c : text) {
    if (c == quote || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + quote;
}

std::string absolute(const std::string& path) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(path, error).lexically_normal();
  return error ? path : absolute.string();
}

std::string in_toml(const std::string& path) {
  return backslash_quoted(absolute(path), '"');
}

std::string in_postgres(const std::string& path) {
  return backslash_quoted(absolute(path), '\'');
}

// A name in pg_hba.conf. Quotes keep a name such as "all" from being a keyword.
std::string in_rule(const std::string& user) {
  std::string name = "\"";
  for (const char c : user) name += c == '"' ? std::string("\"\"") : std::string(1, c);
  return name + '"';
}

}  // namespace

std::string usage_of_authority(const std::string& authority) {
  return fmt::format(
      "pgveil.toml, [[listener]], to accept its clients:\n"
      "  ssl_ca_file = {0}\n"
      "pgveil.toml, [upstream.NAME], to trust its servers:\n"
      "  sslrootcert = {0}\n"
      "postgresql.conf, to accept its clients:\n"
      "  ssl_ca_file = {1}\n"
      "Connection string of psql and others with libpq, to trust its servers:\n"
      "  sslmode=verify-full sslrootcert={1}\n",
      in_toml(authority), in_postgres(authority));
}

std::string usage_of_server(const std::string& path) {
  const std::string certificate = path + ".crt", key = path + ".key";
  return fmt::format(
      "pgveil.toml, [[listener]]:\n"
      "  ssl_cert_file = {}\n"
      "  ssl_key_file = {}\n"
      "postgresql.conf (PostgreSQL's account must own the key file):\n"
      "  ssl = on\n"
      "  ssl_cert_file = {}\n"
      "  ssl_key_file = {}\n",
      in_toml(certificate), in_toml(key), in_postgres(certificate), in_postgres(key));
}

std::string usage_of_client(const std::string& path, const std::string& authority, const std::string& user) {
  const std::string certificate = path + ".crt", key = path + ".key";
  return fmt::format(
      "Connection string of psql and others with libpq:\n"
      "  user={} sslcert={} sslkey={} sslmode=verify-full sslrootcert={}\n"
      "pgveil.toml, [upstream.NAME], to log in to the server with it:\n"
      "  sslcert = {}\n"
      "  sslkey = {}\n"
      "Rule for a listener of pgveil or for pg_hba.conf:\n"
      "  hostssl  all  {}  all  cert\n",
      backslash_quoted(user, '\''), in_postgres(certificate), in_postgres(key), in_postgres(authority),
      in_toml(certificate), in_toml(key), in_rule(user));
}

std::string usage_of_crl(const std::string& crl) {
  return fmt::format(
      "pgveil.toml, [[listener]], to refuse clients:\n"
      "  ssl_crl_file = {0}\n"
      "pgveil.toml, [upstream.NAME], to refuse servers:\n"
      "  sslcrl = {0}\n"
      "postgresql.conf, to refuse clients:\n"
      "  ssl_crl_file = {1}\n"
      "Connection string of psql and others with libpq, to refuse servers:\n"
      "  sslcrl={1}\n"
      "Reload pgveil and PostgreSQL after each new CRL.\n",
      in_toml(crl), in_postgres(crl));
}

}  // namespace pgveil::proxy
