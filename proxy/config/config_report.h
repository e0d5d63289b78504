// The one collector of errors and warnings of a configuration, from its first line to the last file that it names.
#pragma once

#include <set>
#include <string>
#include <utility>

#include "proxy/config/config.h"
#include "proxy/config/config_error.h"

namespace pgveil::proxy {

class ConfigReport {
 public:
  void add_error(ConfigError error) { errors_.push_back(std::move(error)); }
  void add_errors(ConfigErrors errors);
  void add_warning(ConfigError warning) { warnings_.push_back(std::move(warning)); }
  void add_warnings(ConfigErrors warnings);
  void add(ConfigReport other);
  // Adds the errors that were found later in the same configuration, such as while its files were loaded. Leaves out
  // those that may have the same cause: errors of a setting that has an error already, errors of a missing setting in a
  // section that has an error, and all warnings.
  void add_later(ConfigReport later, const SourceLocations& locations);

  // Notes files and directories, beside those that the settings name, that were read or could not be read.
  void add_files(const std::set<std::string>& files) { files_.insert(files.begin(), files.end()); }
  [[nodiscard]] const std::set<std::string>& files() const { return files_; }

  [[nodiscard]] bool has_errors() const { return !errors_.empty(); }
  // By file and line. Equal ones are there once.
  [[nodiscard]] ConfigErrors errors() const;
  [[nodiscard]] ConfigErrors warnings() const;

  // For standard error, by file and line: "error: " or "warning: ", location and message; in a second line the hint.
  [[nodiscard]] std::string lines() const;
  // The number of both, as a line: "2 errors, 1 warning". Empty if there is nothing to report.
  [[nodiscard]] std::string count_line() const;
  [[nodiscard]] std::string text() const { return lines() + count_line(); }

 private:
  ConfigErrors errors_;
  ConfigErrors warnings_;
  std::set<std::string> files_;
};

}  // namespace pgveil::proxy
