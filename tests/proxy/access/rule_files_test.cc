// The files that rules and maps name, and what to do about those that cannot be read.
#include "proxy/access/rule_files.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/certificates.h"

namespace pgveil::proxy {
namespace {

using test::TemporaryFolder;

// "MESSAGE. HINT", and before it what include_if_exists ignores; empty: it was read.
template <class Result>
std::string error_of(const Result& result) {
  if (result) return "";
  return (result.error().is_missing ? "missing: " : "") + result.error().text + ". " + result.error().hint;
}

TEST(AuthFiles, SayWhatToDoAboutAFileThatCannotBeRead) {
  const TemporaryFolder folder;
  const AuthFiles files;
  folder.write("file", "a");
  std::filesystem::create_symlink(folder.path("loop"), folder.path("loop"));
  EXPECT_EQ(files.read(folder.path("file")), "a");
  EXPECT_EQ(error_of(files.read(folder.path("none/file"))),
            "missing: No such file or directory. The directory \"" + folder.path("none") +
                "\" does not exist. Check the path.");
  EXPECT_EQ(error_of(files.read(folder.path("file/file"))), "Not a directory. Check the path.");
  EXPECT_EQ(error_of(files.read(folder.path(""))), "Is a directory. Name a file in this directory.");
  EXPECT_EQ(
      error_of(files.read(folder.path("loop"))),
      "Too many levels of symbolic links. Check the path, and that the user of this process may read the file.");
}

TEST(AuthFiles, SayWhatToDoAboutADirectoryThatCannotBeRead) {
  const TemporaryFolder folder;
  const AuthFiles files;
  folder.write("file", "a");
  EXPECT_EQ(files.list(folder.path("")), std::vector<std::string>{"file"});
  EXPECT_EQ(error_of(files.list(folder.path("none/conf.d"))),
            "missing: No such file or directory. The directory \"" + folder.path("none") +
                "\" does not exist. Check the path.");
  EXPECT_EQ(error_of(files.list(folder.path("file"))), "Not a directory. Check the path.");
}

}  // namespace
}  // namespace pgveil::proxy
