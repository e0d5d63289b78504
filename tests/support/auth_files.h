// The files that pg_hba.conf and pg_ident.conf include, in the memory of a test.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "protocol/auth_file.h"

namespace pgveil::test {

class FakeAuthFiles : public protocol::AuthFileSource {
 public:
  FakeAuthFiles() = default;
  // The texts by path. nullptr: the file may not be read.
  explicit FakeAuthFiles(std::map<std::string, const char*> files) : files_(std::move(files)) {}

  [[nodiscard]] tl::expected<std::string, Error> read(const std::string& path) const override {
    const auto file = files_.find(path);
    if (file == files_.end())
      return tl::unexpected(Error{true, "No such file or directory", "Check the path."});
    if (file->second == nullptr)
      return tl::unexpected(Error{false, "Permission denied", "Let the user read it."});
    return file->second;
  }

  // Returns the names in the reverse order of the C locale, because the reader must not rely on any order.
  [[nodiscard]] tl::expected<std::vector<std::string>, Error> list(
      const std::string& directory) const override {
    std::vector<std::string> names;
    for (auto file = files_.rbegin(); file != files_.rend(); ++file)
      if (file->first.starts_with(directory + '/')) names.push_back(file->first.substr(directory.size() + 1));
    if (names.empty()) return tl::unexpected(Error{true, "No such file or directory", "Check the path."});
    return names;
  }

 private:
  std::map<std::string, const char*> files_;
};

// Returns "FILE:LINE: MESSAGE. HINT" for each error, one on each line.
inline std::string shown(const protocol::AuthFileErrors& errors) {
  std::string text;
  for (const auto& error : errors)
    text += error.file + ':' + std::to_string(error.line) + ": " + error.message + ". " + error.hint + '\n';
  return text;
}

}  // namespace pgveil::test
