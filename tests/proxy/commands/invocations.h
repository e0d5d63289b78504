// Command lines as a test writes them, and what becomes of them.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "proxy/commands/check.h"
#include "proxy/commands/command_line.h"
#include "proxy/config/config_report.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

using Words = std::vector<std::string>;
using Variables = std::map<std::string, std::string, std::less<>>;

inline const Words kSound{"run",           "--listen", "127.0.0.1:5432", "--upstream", "db01.example.com",
                          "--sslrootcert", "system"};

inline Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

inline Invocation understood(Words arguments, Variables environment = {}) {
  auto invocation = parse_command_line({std::move(arguments), std::move(environment)});
  if (invocation) return *std::move(invocation);
  ADD_FAILURE() << invocation.error().errors << invocation.error().output;
  return {.command = Command::run,
          .parsed = {.file = "",
                     .config = {.listeners = std::vector<ListenerConfig>(1),
                                .upstreams = {{"", {}}},
                                .limits = {},
                                .log = {},
                                .audit = {},
                                .reload = {},
                                .admin = {}},
                     .locations = {}},
          .probe = {},
          .status = {}};
}
inline Config config_of(Words arguments, Variables environment = {}) {
  return understood(std::move(arguments), std::move(environment)).parsed.config;
}
inline EarlyExit ending_of(Words arguments, Variables environment = {}) {
  auto invocation = parse_command_line({std::move(arguments), std::move(environment)});
  return invocation ? EarlyExit{-1, "", ""} : invocation.error();
}

inline std::string text_of(const ConfigErrors& errors) {
  ConfigReport report;
  report.add_errors(errors);
  return report.text();
}

// A file that is gone with the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text) {
    std::string path = (std::filesystem::temp_directory_path() / "pgveil-XXXXXX").string();
    const int descriptor = mkstemp(path.data());
    path_ = path;
    EXPECT_GE(descriptor, 0);
    std::ofstream(path_) << text;
    close(descriptor);
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Returns all that is printed of a configuration, in parsing and in loading.
inline std::string all_messages(Words words, Variables variables = {}) {
  const auto invocation = parse_command_line({std::move(words), std::move(variables)});
  if (!invocation) return invocation.error().errors + invocation.error().output;
  const auto snapshot = build_snapshot(invocation->parsed);
  return snapshot ? text_of((*snapshot)->warnings) + summary_of(**snapshot) : snapshot.error().text();
}

}  // namespace pgveil::proxy
