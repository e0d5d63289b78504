// An audit file for a test.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "proxy/base/descriptor.h"
#include "proxy/config/config.h"

namespace pgveil::test {

// An audit file, whose records can be read once the log has ended.
class AuditFile {
 public:
  AuditFile() {
    std::string name = testing::TempDir() + "audit-XXXXXX";
    const proxy::Descriptor file(::mkostemp(name.data(), O_CLOEXEC));
    path_ = name;
  }
  ~AuditFile() { std::filesystem::remove(path_); }
  AuditFile(const AuditFile&) = delete;
  AuditFile& operator=(const AuditFile&) = delete;

  [[nodiscard]] proxy::AuditConfig config() const {
    return {.target = proxy::AuditTarget::file, .file = path_, .socket = ""};
  }
  // Returns the records without their times.
  [[nodiscard]] std::vector<std::string> records() const {
    std::ifstream file(path_);
    std::vector<std::string> records;
    for (std::string line; std::getline(file, line);)
      records.push_back(line.substr(line.find(R"("schema")")));
    return records;
  }

 private:
  std::string path_;
};

}  // namespace pgveil::test
