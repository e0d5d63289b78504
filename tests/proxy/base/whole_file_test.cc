#include "proxy/base/whole_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <climits>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace pgveil::proxy {
namespace {

namespace filesystem = std::filesystem;

class AWholeFile : public testing::Test {
 protected:
  AWholeFile() {
    std::string path = (filesystem::temp_directory_path() / "pgveil-XXXXXX").string();
    EXPECT_NE(::mkdtemp(path.data()), nullptr);
    folder_ = path;
  }
  ~AWholeFile() override {
    ::umask(umask_);
    filesystem::remove_all(folder_);
  }

  [[nodiscard]] std::string path(const char* name) const { return (folder_ / name).string(); }
  [[nodiscard]] std::string content(const char* name) const {
    std::ifstream file(folder_ / name);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  [[nodiscard]] mode_t mode(const char* name) const {
    struct stat status {};
    EXPECT_EQ(::stat(path(name).c_str(), &status), 0);
    return status.st_mode & 07777U;
  }
  [[nodiscard]] std::size_t count() const {
    return static_cast<std::size_t>(std::distance(filesystem::directory_iterator(folder_), {}));
  }

  filesystem::path folder_;
  mode_t umask_ = ::umask(022);
};

TEST_F(AWholeFile, IsCreatedWithItsModeWhateverTheUmaskIs) {
  for (const mode_t mask : {0U, 0777U}) {
    ::umask(mask);
    EXPECT_EQ(create_whole_file(path("key"), "secret", 0600), 0);
    EXPECT_EQ(create_whole_file(path("certificate"), "public", 0644), 0);
    EXPECT_EQ(mode("key"), 0600U);
    EXPECT_EQ(mode("certificate"), 0644U);
    ::umask(022);
    filesystem::remove(folder_ / "key");
    filesystem::remove(folder_ / "certificate");
  }
}

TEST_F(AWholeFile, IsNotCreatedWhereThereIsSomething) {
  ASSERT_EQ(create_whole_file(path("file"), "first", 0644), 0);
  EXPECT_EQ(create_whole_file(path("file"), "second", 0644), EEXIST);
  EXPECT_EQ(content("file"), "first");
  filesystem::create_symlink(folder_ / "nothing", folder_ / "link");
  EXPECT_EQ(create_whole_file(path("link"), "second", 0644), EEXIST);
  EXPECT_FALSE(filesystem::exists(folder_ / "nothing"));
  EXPECT_EQ(count(), 2U);  // no temporary file is left
}

TEST_F(AWholeFile, IsNotCreatedInADirectoryThatDoesNotExist) {
  EXPECT_EQ(create_whole_file(path("missing/file"), "text", 0644), ENOENT);
}

TEST_F(AWholeFile, KeepsItsModeWhenItIsReplaced) {
  ASSERT_EQ(create_whole_file(path("file"), "first", 0640), 0);
  EXPECT_EQ(replace_whole_file(path("file"), "second"), 0);
  EXPECT_EQ(content("file"), "second");
  EXPECT_EQ(mode("file"), 0640U);
  EXPECT_EQ(count(), 1U);
}

TEST_F(AWholeFile, IsAnotherFileWhenItIsReplaced) {
  ASSERT_EQ(create_whole_file(path("file"), "first", 0644), 0);
  std::ifstream reader(folder_ / "file");
  EXPECT_EQ(replace_whole_file(path("file"), "second"), 0);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(reader), {}), "first");
}

TEST_F(AWholeFile, IsReplacedWhereALinkLeads) {
  ASSERT_EQ(create_whole_file(path("file"), "first", 0644), 0);
  filesystem::create_symlink("file", folder_ / "link");
  EXPECT_EQ(replace_whole_file(path("link"), "second"), 0);
  EXPECT_TRUE(filesystem::is_symlink(folder_ / "link"));
  EXPECT_EQ(content("file"), "second");
}

TEST_F(AWholeFile, MayHaveTheLongestName) {
  const std::string name(NAME_MAX, 'a');
  EXPECT_EQ(create_whole_file(path(name.c_str()), "first", 0644), 0);
  EXPECT_EQ(replace_whole_file(path(name.c_str()), "second"), 0);
  EXPECT_EQ(content(name.c_str()), "second");
  EXPECT_EQ(create_whole_file(path((name + 'a').c_str()), "first", 0644), ENAMETOOLONG);
  EXPECT_EQ(count(), 1U);
}

TEST_F(AWholeFile, IsNotReplacedIfItDoesNotExist) {
  EXPECT_EQ(replace_whole_file(path("missing"), "text"), ENOENT);
  EXPECT_EQ(count(), 0U);
}

TEST_F(AWholeFile, HasADirectoryThatCanBeLocked) {
  const Descriptor other(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  {
    const auto lock = DirectoryLock::try_acquire(folder_.string());
    ASSERT_TRUE(lock.has_value());
    EXPECT_NE(::flock(other.get(), LOCK_EX | LOCK_NB), 0);
    EXPECT_EQ(count(), 0U);
  }
  EXPECT_EQ(::flock(other.get(), LOCK_EX | LOCK_NB), 0);
  EXPECT_EQ(DirectoryLock::try_acquire(folder_.string()).error(), EWOULDBLOCK);
  EXPECT_EQ(DirectoryLock::try_acquire(path("missing")).error(), ENOENT);
}

}  // namespace
}  // namespace pgveil::proxy
