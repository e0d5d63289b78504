// The statements of the admin database (listener.admin_database): what they are, and what they do. docs/monitoring.md
// describes them.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "protocol/backend.h"
#include "proxy/admin/result_table.h"

namespace pgveil::proxy {

class AdminStatements {
 public:
  // Where the answers come from, and the orders.
  struct Process {
    std::function<nlohmann::ordered_json()> status;    // of the page /status
    std::function<nlohmann::ordered_json()> sessions;  // of the page /sessions
    std::function<std::shared_ptr<const Snapshot>()> snapshot;
    std::function<bool()> is_draining;
    std::function<void()> reload;
    std::function<void()> shut_down;
    // Returns whether there is such a session.
    std::function<bool(std::string_view)> terminate;
  };
  struct Client {
    std::string session;  // its name in the log
    std::string user;
  };
  struct Result {
    ResultTable table;     // without columns: the statement returns no rows
    std::string_view tag;  // of CommandComplete; empty: the statement is empty
  };

  explicit AdminStatements(Process process) : process_(std::move(process)) {}

  // Runs one statement. An order is logged with the client's name.
  [[nodiscard]] tl::expected<Result, protocol::ErrorFields> run(std::string_view statement,
                                                                const Client& client) const;
  // Returns whether run() only reads: it can be called once more for the columns.
  [[nodiscard]] static bool returns_rows(std::string_view statement);

 private:
  [[nodiscard]] tl::expected<Result, protocol::ErrorFields> show(const std::string& what) const;
  [[nodiscard]] tl::expected<Result, protocol::ErrorFields> order(const std::vector<std::string>& words,
                                                                  const Client& client) const;

  Process process_;
};

// Returns an error that does not end the session. `hint`: sentences.
[[nodiscard]] protocol::ErrorFields statement_error(std::string_view code, std::string_view message,
                                                    std::string_view hint = "");

// Returns the statements of a Query, which semicolons separate, without comments. Empty ones are left out.
[[nodiscard]] std::vector<std::string> split_statements(std::string_view query);

}  // namespace pgveil::proxy
