#include "proxy/base/file_watch.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>

namespace pgveil::proxy {
namespace {

namespace filesystem = std::filesystem;

class FileWatchTest : public testing::Test {
 protected:
  FileWatchTest() {
    std::string name = filesystem::temp_directory_path() / "pgveil-XXXXXX";
    folder_ = ::mkdtemp(name.data());
    watch_ = FileWatch::open(loop_.get(), [this] { changed_ = true; }).value();
  }
  ~FileWatchTest() override { filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name) << content;
  }
  void watch(const std::set<std::string>& names) {
    std::set<std::string> paths;
    for (const auto& name : names) paths.insert(folder_ / name);
    EXPECT_TRUE(watch_->set(paths).empty());
  }
  // Whether a change was noticed since the last call. inotify's events can be read once the system call that caused
  // them has returned.
  bool changed() {
    changed_ = false;
    uv_run(loop_.get(), UV_RUN_NOWAIT);
    return changed_;
  }
  [[nodiscard]] filesystem::path path(const std::string& name) const { return folder_ / name; }

  Loop loop_;
  filesystem::path folder_;
  bool changed_ = false;
  std::unique_ptr<FileWatch> watch_;
};

TEST_F(FileWatchTest, NoticesAFileThatIsWrittenInPlace) {
  write("server.crt", "old");
  watch({"server.crt"});
  EXPECT_FALSE(changed());
  write("server.crt", "new");
  EXPECT_TRUE(changed());
  EXPECT_FALSE(changed());
}

TEST_F(FileWatchTest, IgnoresOtherFilesOfTheDirectory) {
  write("server.crt", "old");
  watch({"server.crt"});
  write("server.log", "a line");
  filesystem::remove(path("server.log"));
  EXPECT_FALSE(changed());
}

TEST_F(FileWatchTest, NoticesAFileThatIsReplacedByARename) {
  write("server.crt", "old");
  watch({"server.crt"});
  write("server.crt.tmp", "new");
  EXPECT_FALSE(changed());
  filesystem::rename(path("server.crt.tmp"), path("server.crt"));
  EXPECT_TRUE(changed());
}

TEST_F(FileWatchTest, NoticesAFileThatIsRemovedAndOneThatIsCreated) {
  write("server.crt", "old");
  watch({"server.crt", "later.crt"});
  filesystem::remove(path("server.crt"));
  EXPECT_TRUE(changed());
  write("later.crt", "new");
  EXPECT_TRUE(changed());
}

TEST_F(FileWatchTest, NoticesAFileThatBecomesReadable) {
  write("server.key", "secret");
  ::chmod(path("server.key").c_str(), 0);
  watch({"server.key"});
  ::chmod(path("server.key").c_str(), 0600);
  EXPECT_TRUE(changed());
}

// kubelet replaces the link `..data`; the links of the files, and their directory, stay.
TEST_F(FileWatchTest, NoticesTheUpdateOfAKubernetesVolume) {
  for (const char* version : {"..2026_01", "..2026_02"}) {
    filesystem::create_directory(path(version));
    write(std::string(version) + "/tls.crt", version);
  }
  filesystem::create_symlink("..2026_01", path("..data"));
  filesystem::create_symlink("..data/tls.crt", path("tls.crt"));
  watch({"tls.crt"});
  filesystem::create_symlink("..2026_02", path("..data_tmp"));
  EXPECT_FALSE(changed());
  filesystem::rename(path("..data_tmp"), path("..data"));
  EXPECT_TRUE(changed());
  watch({"tls.crt"});
  filesystem::remove_all(path("..2026_01"));
  changed();
  write("..2026_02/tls.crt", "again");
  EXPECT_TRUE(changed());
}

TEST_F(FileWatchTest, FollowsALinkIntoAnotherDirectory) {
  filesystem::create_directory(path("live"));
  filesystem::create_directory(path("archive"));
  write("archive/cert1.pem", "old");
  write("archive/cert2.pem", "new");
  filesystem::create_symlink(path("archive/cert1.pem"), path("live/cert.pem"));
  watch({"live/cert.pem"});
  write("archive/cert2.pem", "newer");
  EXPECT_FALSE(changed());
  write("archive/cert1.pem", "other");
  EXPECT_TRUE(changed());
}

TEST_F(FileWatchTest, NoticesADirectoryThatDisappearsAndReturns) {
  filesystem::create_directories(path("etc/pgveil"));
  write("etc/pgveil/server.crt", "old");
  watch({"etc/pgveil/server.crt"});
  filesystem::remove_all(path("etc"));
  EXPECT_TRUE(changed());
  watch({"etc/pgveil/server.crt"});
  filesystem::create_directories(path("etc/pgveil"));
  EXPECT_TRUE(changed());
  watch({"etc/pgveil/server.crt"});
  write("etc/pgveil/server.crt", "new");
  EXPECT_TRUE(changed());
}

TEST_F(FileWatchTest, NoticesADirectoryThatIsReplacedByARename) {
  filesystem::create_directories(path("etc/pgveil"));
  filesystem::create_directories(path("new/pgveil"));
  write("etc/pgveil/server.crt", "old");
  write("new/pgveil/server.crt", "new");
  watch({"etc/pgveil/server.crt"});
  filesystem::rename(path("etc"), path("old"));
  filesystem::rename(path("new"), path("etc"));
  EXPECT_TRUE(changed());
}

TEST_F(FileWatchTest, NoticesEveryEntryOfAWatchedDirectory) {
  filesystem::create_directory(path("crl"));
  watch({"crl"});
  write("crl/abcd.r0", "list");
  EXPECT_TRUE(changed());
  filesystem::remove(path("crl/abcd.r0"));
  EXPECT_TRUE(changed());
}

TEST_F(FileWatchTest, EndsWithWhatIsNoLongerSet) {
  filesystem::create_directory(path("old"));
  filesystem::create_directory(path("new"));
  watch({"old/server.crt"});
  watch({"new/server.crt"});
  write("old/server.crt", "x");
  EXPECT_FALSE(changed());
  write("new/server.crt", "x");
  EXPECT_TRUE(changed());
}

TEST_F(FileWatchTest, EndsALoopOfLinks) {
  filesystem::create_symlink("b", path("a"));
  filesystem::create_symlink("a", path("b"));
  watch({"a"});
  filesystem::remove(path("b"));
  EXPECT_TRUE(changed());
}

TEST_F(FileWatchTest, TakesPathsRelativeToTheWorkingDirectory) {
  const auto before = filesystem::current_path();
  filesystem::current_path(folder_);
  EXPECT_TRUE(watch_->set({"server.crt", "./x/../other.crt"}).empty());
  filesystem::current_path(before);
  write("server.crt", "new");
  EXPECT_TRUE(changed());
}

}  // namespace
}  // namespace pgveil::proxy
