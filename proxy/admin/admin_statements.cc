#include "proxy/admin/admin_statements.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "protocol/sqlstate.h"
#include "proxy/diagnostics/log.h"
#include "proxy/diagnostics/reason.h"

namespace pgveil::proxy {
namespace {

namespace sqlstate = protocol::sqlstate;
using protocol::ErrorFields;

constexpr std::string_view kSpace = " \t\r\n\f\v";

struct Help {
  const char* statement;
  const char* effect;
};
constexpr std::array kHelp{
    Help{"SHOW SESSIONS", "the sessions: who, where, by which rule, what they do"},
    Help{"SHOW UPSTREAMS",
         "the upstreams: whether the last connection was verified, and by which certificate"},
    Help{"SHOW CERTIFICATES", "certificates and revocation lists, with the days that are left"},
    Help{"SHOW STATS", "what each listener has counted, and how long logins take (seconds)"},
    Help{"SHOW CONFIG", "every setting, without secrets"},
    Help{"SHOW VERSION", "versions, and how bytes are relayed and encrypted"},
    Help{"SHOW HELP", "this list"},
    Help{"RELOAD", "reads the configuration and its files again, as SIGHUP"},
    Help{"TERMINATE session", "ends a session with SQLSTATE 57P01"},
    Help{"SHUTDOWN", "stops pgveil, as SIGTERM: sessions may finish their transactions"},
};

ResultTable help_table() {
  ResultTable table{.columns = {{.name = "statement"}, {.name = "effect"}}, .rows = {}};
  for (const Help& help : kHelp) table.rows.push_back({help.statement, help.effect});
  return table;
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::vector<std::string> words_of(std::string_view statement) {
  std::vector<std::string> words;
  for (auto rest = trimmed(statement); !rest.empty();) {
    const auto end = std::min(rest.find_first_of(kSpace), rest.size());
    words.emplace_back(rest.substr(0, end));
    rest = trimmed(rest.substr(end));
  }
  return words;
}

bool is_comment(std::string_view token) {
  return token.starts_with("--") || token.starts_with("/*");
}

// Returns the size of a comment, which may have others inside.
std::size_t comment_size(std::string_view text) {
  std::size_t depth = 0;
  for (std::size_t at = 0; at + 1 < text.size(); ++at) {
    const std::string_view pair = text.substr(at, 2);
    if (pair != "/*" && pair != "*/") continue;
    depth = pair == "/*" ? depth + 1 : depth - 1;
    if (depth == 0) return at + 2;
    ++at;
  }
  return text.size();
}

// Returns the size of what begins a text that is not empty: a comment, a text or a name in quotes, or one byte.
std::size_t token_size(std::string_view text) {
  const auto through = [text](std::string_view end, std::size_t from) {
    const auto found = text.find(end, from);
    return found == std::string_view::npos ? text.size() : found + end.size();
  };
  if (text.starts_with("--")) return std::min(text.find('\n'), text.size());
  if (text.starts_with("/*")) return comment_size(text);
  if (text.front() == '\'' || text.front() == '"') return through(text.substr(0, 1), 1);
  if (text.front() == '$') {
    const auto tag = text.substr(0, std::min(text.find('$', 1), text.size() - 1) + 1);  // "$$" or "$tag$"
    if (tag.size() > 1 && tag.back() == '$') return through(tag, tag.size());
  }
  return 1;
}

std::string upper(std::string text) {
  for (char& letter : text) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  return text;
}

// Returns the words of a statement without the semicolon at its end, the first two in capitals: names are kept as they are.
std::vector<std::string> parsed(std::string_view statement) {
  while (!statement.empty() &&
         (statement.back() == ';' || kSpace.find(statement.back()) != std::string_view::npos))
    statement.remove_suffix(1);
  auto words = words_of(statement);
  if (!words.empty()) words[0] = upper(std::move(words[0]));
  if (words.size() == 2 && words[0] == "SHOW") words[1] = upper(std::move(words[1]));
  return words;
}

ErrorFields unknown_statement() {
  return statement_error(sqlstate::kSyntaxError, "this is not a statement of the admin database",
                         "SHOW HELP lists the statements. There are no transactions: turn autocommit on.");
}

// The name may be in quotes.
std::string_view unquoted(std::string_view name) {
  if (name.size() < 2 || name.front() != name.back() || (name.front() != '\'' && name.front() != '"'))
    return name;
  return name.substr(1, name.size() - 2);
}

void log_order(const AdminStatements::Client& client, std::string_view statement) {
  LogLine(LogLevel::info, "admin_statement")
      .add("session", client.session)
      .add("user", client.user)
      .add("statement", statement);
}

}  // namespace

ErrorFields statement_error(std::string_view code, std::string_view message, std::string_view hint) {
  return {.severity = "ERROR",
          .sqlstate = std::string(code),
          .message = std::string(kMessagePrefix).append(message),
          .detail = {},
          .hint = std::string(hint)};
}

tl::expected<AdminStatements::Result, ErrorFields> AdminStatements::run(std::string_view statement,
                                                                        const Client& client) const {
  const auto words = parsed(statement);
  if (words.empty()) return Result{};
  if (words[0] == "SHOW" && words.size() == 2) return show(words[1]);
  // Drivers and pools send these. They have no effect here.
  for (const std::string_view ignored : {"SET", "RESET", "DISCARD ALL", "DEALLOCATE"})
    if (words[0] == ignored.substr(0, ignored.find(' '))) return Result{.table = {}, .tag = ignored};
  return order(words, client);
}

bool AdminStatements::returns_rows(std::string_view statement) {
  const auto words = parsed(statement);
  return !words.empty() && words[0] == "SHOW";
}

tl::expected<AdminStatements::Result, ErrorFields> AdminStatements::show(const std::string& what) const {
  const auto result = [](ResultTable table) { return Result{std::move(table), "SHOW"}; };
  if (what == "SESSIONS") return result(sessions_table(process_.sessions()));
  if (what == "UPSTREAMS") return result(upstreams_table(process_.status()));
  if (what == "CERTIFICATES") return result(certificates_table(process_.status()));
  if (what == "STATS") return result(stats_table(process_.status()));
  if (what == "VERSION") return result(version_table(process_.status()));
  if (what == "CONFIG") return result(config_table(*process_.snapshot()));
  if (what == "HELP") return result(help_table());
  if (what == "TRANSACTION_READ_ONLY")  // for libpq's target_session_attrs
    return result({.columns = {{.name = "transaction_read_only"}}, .rows = {{"off"}}});
  return tl::unexpected(unknown_statement());
}

tl::expected<AdminStatements::Result, ErrorFields> AdminStatements::order(
    const std::vector<std::string>& words, const Client& client) const {
  if (words.size() == 1 && words[0] == "RELOAD") {
    if (process_.is_draining())
      return tl::unexpected(statement_error(sqlstate::kObjectNotInPrerequisiteState,
                                            "pgveil is shutting down",
                                            "Connect again: another pgveil may have taken its place."));
    log_order(client, words[0]);
    process_.reload();
    return Result{.table = {}, .tag = "RELOAD"};
  }
  if (words.size() == 1 && words[0] == "SHUTDOWN") {
    log_order(client, words[0]);
    process_.shut_down();
    return Result{.table = {}, .tag = "SHUTDOWN"};
  }
  if (words.size() == 2 && words[0] == "TERMINATE") {
    const std::string_view session = unquoted(words[1]);
    if (!process_.terminate(session))
      return tl::unexpected(statement_error(sqlstate::kUndefinedObject,
                                            "there is no session " + std::string(session),
                                            "SHOW SESSIONS lists the sessions."));
    log_order(client, "TERMINATE " + std::string(session));
    return Result{.table = {}, .tag = "TERMINATE"};
  }
  return tl::unexpected(unknown_statement());
}

std::vector<std::string> split_statements(std::string_view query) {
  std::vector<std::string> statements(1);
  while (!query.empty()) {
    const std::size_t size = token_size(query);
    const std::string_view token = query.substr(0, size);
    if (token == ";")
      statements.emplace_back();
    else
      statements.back() += is_comment(token) ? " " : token;
    query.remove_prefix(size);
  }
  for (std::string& statement : statements) statement = std::string(trimmed(statement));
  std::erase(statements, "");
  return statements;
}

}  // namespace pgveil::proxy
