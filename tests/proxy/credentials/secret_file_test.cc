#include "proxy/credentials/secret_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "tests/support/certificates.h"
#include "tests/support/file_owner.h"

namespace pgveil::proxy {
namespace {

using test::check_file_of;
using test::Owner;
using test::TemporaryFolder;

constexpr const char* kContent = "db:5432:ledger:app:sesame\n";

// What is wrong with the file; empty: it was read.
std::string problem_of(const std::string& path) {
  const auto text = read_secret_file(path, "upstream.primary.passfile", SourceLocations{});
  if (text) return text->view() == kContent ? "" : "other content was read";
  const auto& error = text.error();
  const bool is_whole = error.key == "upstream.primary.passfile" && !error.hint.empty();
  return is_whole ? error.message : "an error without key or hint";
}

TEST(SecretFiles, AreNamedWithoutControlBytes) {
  EXPECT_EQ(problem_of("/nonexistent/a\nb"),
            "\"/nonexistent/a\\x0ab\" cannot be read: No such file or directory");
}

struct SecretFile {
  const char* name;
  Owner owner;
  mode_t mode;
  const char* message;  // a part of it; empty: accepted
};
void PrintTo(const SecretFile& row, std::ostream* out) {
  *out << row.name;
}

class SecretFileMode : public testing::TestWithParam<SecretFile> {
 protected:
  TemporaryFolder folder_;
};

TEST_P(SecretFileMode, IsJudgedAsThatOfAPrivateKey) {
  const auto& row = GetParam();
  const std::string file = folder_.write("passwords", kContent);
  ASSERT_EQ(::chmod(file.c_str(), row.mode), 0);
  const auto message = check_file_of(row.owner, file, [&] { return problem_of(file); });
  if (!message) GTEST_SKIP() << "needs another user";
  if (*row.message == '\0') {
    EXPECT_EQ(*message, "");
    return;
  }
  EXPECT_NE(message->find(row.message), std::string::npos) << *message;
  EXPECT_NE(message->find(file), std::string::npos) << *message;
}

constexpr const char* kTooOpen = "holds passwords and has group or world access";

// clang-format off
INSTANTIATE_TEST_SUITE_P(SecretFiles, SecretFileMode, testing::Values(
    SecretFile{"RootOwnerOnly", Owner::root, 0600, ""},
    SecretFile{"RootGroupMayRead", Owner::root, 0640, ""},
    SecretFile{"RootGroupMayWrite", Owner::root, 0660, kTooOpen},
    SecretFile{"RootGroupMayExecute", Owner::root, 0650, kTooOpen},
    SecretFile{"RootWorldMayRead", Owner::root, 0644, kTooOpen},
    SecretFile{"OursOwnerOnly", Owner::us, 0600, ""},
    SecretFile{"OursReadOnly", Owner::us, 0400, ""},
    SecretFile{"OursGroupMayRead", Owner::us, 0640, kTooOpen},
    SecretFile{"OursGroupMayWrite", Owner::us, 0620, kTooOpen},
    SecretFile{"OursWorldMayRead", Owner::us, 0604, kTooOpen},
    SecretFile{"StrangersOwnerOnly", Owner::stranger, 0600, "must be owned by"},
    SecretFile{"StrangersGroupMayRead", Owner::stranger, 0640, "must be owned by"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(SecretFileKind, MustBeARegularFile) {
  const TemporaryFolder folder;
  EXPECT_NE(problem_of(folder.path(".")).find("is a directory"), std::string::npos);
  const std::string fifo = folder.path("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_NE(problem_of(fifo).find("is not a regular file"), std::string::npos);
}

TEST(SecretFileKind, MayBeALinkToOne) {
  const TemporaryFolder folder;
  const std::string link = folder.path("link");
  ASSERT_EQ(::symlink(folder.write("passwords", kContent).c_str(), link.c_str()), 0);
  EXPECT_EQ(problem_of(link), "");
}

TEST(SecretFileKind, MustExist) {
  EXPECT_NE(problem_of("/nonexistent/passwords").find("No such file or directory"), std::string::npos);
}

TEST(SecretFileKind, MustNotBeHuge) {
  const TemporaryFolder folder;
  const std::string file = folder.write("passwords", kContent);
  std::filesystem::resize_file(file, (std::size_t{64} << 20) + 1);  // a hole
  EXPECT_NE(problem_of(file).find("is larger than 64 MiB"), std::string::npos);
}

}  // namespace
}  // namespace pgveil::proxy
