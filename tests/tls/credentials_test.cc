#include "tls/credentials.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "tests/support/certificates.h"
#include "tests/support/file_owner.h"
#include "tls/internal/file_content.h"

namespace pgveil::tls {
namespace {

using pgveil::test::check_file_of;
using pgveil::test::Owner;
using pgveil::test::TemporaryFolder;

struct KeyFile {
  const char* name;
  Owner owner;
  mode_t mode;
  KeyFileRule rule;
  const char* message;  // a part of the message; empty: accepted
};
void PrintTo(const KeyFile& row, std::ostream* out) {
  *out << row.name;
}

std::optional<SettingError> check_path(const std::string& path, KeyFileRule rule) {
  const auto file = OpenFile::open(path);
  if (!file) return SettingError{"sslkey", std::strerror(file.error()), ""};
  return check_key_file(file->status(), path, "sslkey", rule);
}

class KeyFileMode : public testing::TestWithParam<KeyFile> {
 protected:
  TemporaryFolder folder_;
};

TEST_P(KeyFileMode, IsJudgedAsByPostgres) {
  const auto& row = GetParam();
  const std::string file = folder_.write("a.key", "key");
  ASSERT_EQ(::chmod(file.c_str(), row.mode), 0);
  const auto message = check_file_of(row.owner, file, [&]() -> std::string {
    const auto mistake = check_path(file, row.rule);
    if (!mistake) return "";
    const bool is_whole = mistake->setting == "sslkey" && !mistake->hint.empty();
    return is_whole ? mistake->message : "a mistake without setting or remedy";
  });
  if (!message) GTEST_SKIP() << "needs another user";
  if (*row.message == '\0') {
    EXPECT_EQ(*message, "");
    return;
  }
  EXPECT_NE(message->find(row.message), std::string::npos) << *message;
  EXPECT_NE(message->find(file), std::string::npos) << *message;
}

constexpr auto kLibpq = KeyFileRule::libpq;
constexpr auto kServer = KeyFileRule::server;
constexpr const char* kTooOpen = "has group or world access";

// clang-format off
INSTANTIATE_TEST_SUITE_P(Libpq, KeyFileMode, testing::Values(
    KeyFile{"RootOwnerOnly", Owner::root, 0600, kLibpq, ""},
    KeyFile{"RootGroupMayRead", Owner::root, 0640, kLibpq, ""},
    KeyFile{"RootGroupMayWrite", Owner::root, 0660, kLibpq, kTooOpen},
    KeyFile{"RootGroupMayExecute", Owner::root, 0650, kLibpq, kTooOpen},
    KeyFile{"RootWorldMayRead", Owner::root, 0604, kLibpq, kTooOpen},
    KeyFile{"OursOwnerOnly", Owner::us, 0600, kLibpq, ""},
    KeyFile{"OursReadOnly", Owner::us, 0400, kLibpq, ""},
    KeyFile{"OursGroupMayRead", Owner::us, 0640, kLibpq, kTooOpen},
    KeyFile{"StrangersOwnerOnly", Owner::stranger, 0600, kLibpq, ""},
    KeyFile{"StrangersGroupMayRead", Owner::stranger, 0640, kLibpq, kTooOpen}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(Server, KeyFileMode, testing::Values(
    KeyFile{"RootOwnerOnly", Owner::root, 0600, kServer, ""},
    KeyFile{"RootGroupMayRead", Owner::root, 0640, kServer, ""},
    KeyFile{"RootWorldMayRead", Owner::root, 0644, kServer, kTooOpen},
    KeyFile{"OursOwnerOnly", Owner::us, 0600, kServer, ""},
    KeyFile{"OursGroupMayRead", Owner::us, 0640, kServer, kTooOpen},
    KeyFile{"StrangersOwnerOnly", Owner::stranger, 0600, kServer, "must be owned by"}),
    [](const auto& row) { return row.param.name; });
// clang-format on

TEST(KeyFileKind, MustBeARegularFile) {
  const TemporaryFolder folder;
  const auto mistake = check_path(folder.path("."), kLibpq);
  ASSERT_TRUE(mistake);
  EXPECT_NE(mistake->message.find("is a directory"), std::string::npos) << mistake->message;
  const std::string fifo = folder.path("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const auto other = check_path(fifo, kLibpq);
  ASSERT_TRUE(other);
  EXPECT_NE(other->message.find("is not a regular file"), std::string::npos) << other->message;
}

TEST(KeyFileKind, MayBeALinkToOne) {
  const TemporaryFolder folder;
  const std::string link = folder.path("link.key");
  ASSERT_EQ(::symlink(folder.write("a.key", "key").c_str(), link.c_str()), 0);
  EXPECT_FALSE(check_path(link, kLibpq));
}

}  // namespace
}  // namespace pgveil::tls
