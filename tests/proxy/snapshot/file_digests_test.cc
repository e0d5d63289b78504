#include "proxy/snapshot/file_digests.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "tests/support/certificates.h"

namespace pgveil::proxy {
namespace {

class FileDigestsTest : public testing::Test {
 protected:
  tls::Sha256 digest(const std::string& name) {
    const std::string path = folder_.path(name);
    return digest_files({path}).at(path);
  }
  test::TemporaryFolder folder_;
};

TEST_F(FileDigestsTest, DependOnTheContent) {
  folder_.write("file", "one");
  const auto before = digest("file");
  folder_.write("file", "one");
  EXPECT_EQ(digest("file"), before);
  folder_.write("file", "two");
  EXPECT_NE(digest("file"), before);
}

TEST_F(FileDigestsTest, DependOnEveryPartOfALargeFile) {
  std::string content(200'000, 'x');
  folder_.write("file", content);
  const auto before = digest("file");
  content.back() = 'y';
  folder_.write("file", content);
  EXPECT_NE(digest("file"), before);
}

TEST_F(FileDigestsTest, DependOnTheMode) {
  const std::string path = folder_.write("file", "one");
  const auto before = digest("file");
  ::chmod(path.c_str(), 0644);
  EXPECT_NE(digest("file"), before);
}

TEST_F(FileDigestsTest, OfAFileThatIsMissingDifferFromThoseOfAnEmptyFile) {
  const auto missing = digest("file");
  folder_.write("file", "");
  EXPECT_NE(digest("file"), missing);
}

TEST_F(FileDigestsTest, OfADirectoryDependOnNamesAndContents) {
  std::filesystem::create_directory(folder_.path("crl"));
  const auto empty = digest("crl");
  folder_.write("crl/a.r0", "one");
  const auto one = digest("crl");
  EXPECT_NE(one, empty);
  folder_.write("crl/a.r0", "two");
  EXPECT_NE(digest("crl"), one);
  std::filesystem::rename(folder_.path("crl/a.r0"), folder_.path("crl/b.r0"));
  folder_.write("crl/b.r0", "one");
  EXPECT_NE(digest("crl"), one);
}

// Its writer may never come.
TEST_F(FileDigestsTest, DoNotWaitForAFifo) {
  ASSERT_EQ(::mkfifo(folder_.path("fifo").c_str(), 0600), 0);
  EXPECT_EQ(digest("fifo"), digest("fifo"));
}

}  // namespace
}  // namespace pgveil::proxy
