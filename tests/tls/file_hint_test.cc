// What to do about files that cannot be opened or read.
#include "tls/file_hint.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "tests/support/certificates.h"
#include "tests/support/file_owner.h"

namespace pgveil::tls {
namespace {

using pgveil::test::kAnotherUser;
using pgveil::test::run_as;
using pgveil::test::TemporaryFolder;

const DeniedFile kKey{"/etc/pgveil/a.key", false, false, "\"root\" (uid 0)", "\"ssl-cert\" (gid 110)", 0640};

TEST(FileHint, NamesTheUserThatNeedsAccess) {
  EXPECT_EQ(
      access_hint(kKey, {"pgveil", 999, 998, false}),
      "Let the user \"pgveil\" (uid 999) read the file \"/etc/pgveil/a.key\", which belongs to user \"root\" "
      "(uid 0) and group \"ssl-cert\" (gid 110), with mode 0640.");
}

TEST(FileHint, OfAUserWithoutANameHasItsNumber) {
  const std::string hint = access_hint(kKey, {"", 65532, 65532, false});
  EXPECT_TRUE(hint.starts_with("Let the user of uid 65532 read the file ")) << hint;
}

TEST(FileHint, MentionsFsGroupInAPodOnly) {
  const std::string hint = access_hint(kKey, {"", 65532, 65533, true});
  EXPECT_TRUE(
      hint.ends_with(" In Kubernetes, set securityContext.fsGroup of the pod to the group of this process, "
                     "65533."))
      << hint;
}

TEST(FileHint, NamesTheDirectoryThatMayNotBeEntered) {
  const std::string hint =
      access_hint({"/etc/ssl/private", true, true, "uid 0", "gid 0", 0710}, {"pgveil", 999, 998, false});
  EXPECT_TRUE(
      hint.starts_with("Let the user \"pgveil\" (uid 999) enter the directory \"/etc/ssl/private\", which "))
      << hint;
}

TEST(FileHint, NamesTheDirectoryThatMayNotBeRead) {
  const std::string hint =
      access_hint({"/etc/pgveil/crls", true, false, "uid 0", "gid 0", 0711}, {"pgveil", 999, 998, false});
  EXPECT_TRUE(
      hint.starts_with("Let the user \"pgveil\" (uid 999) read the directory \"/etc/pgveil/crls\", which "))
      << hint;
}

TEST(FileHint, SaysInWhichDirectoryARelativePathWasSearched) {
  EXPECT_EQ(file_hint("certs/a.crt", ENOENT),
            "The path is relative; it was searched in the working directory \"" +
                std::filesystem::current_path().string() + "\". Check the path.");
}

TEST(FileHint, NamesTheFirstDirectoryThatDoesNotExist) {
  EXPECT_EQ(file_hint("/etc/no-such/certs/a.crt", ENOENT),
            "The directory \"/etc/no-such\" does not exist. Check the path.");
  EXPECT_EQ(file_hint("/etc/no-such.crt", ENOENT), "Check the path.");
}

TEST(FileHint, OfADirectoryAsksForAFile) {
  EXPECT_EQ(file_hint("/etc", EISDIR), "Name a file in this directory.");
}

TEST(FileHint, OfAnOtherErrorNamesPathAndUser) {
  EXPECT_EQ(file_hint("/etc/no-such.crt", EIO),
            "Check the path, and that the user of this process may read the file.");
}

// A security module may deny access with this error.
TEST(FileHint, OfAnOperationThatIsNotPermittedNamesTheFile) {
  const TemporaryFolder folder;
  const std::string file = folder.write("a.key", "key");
  const std::string hint = file_hint(file, EPERM);
  EXPECT_NE(hint.find(" read the file \"" + file + '"'), std::string::npos) << hint;
}

// As the kernel denies it to another user.
TEST(FileHint, FindsWhatIsDenied) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs another user";
  const TemporaryFolder folder;
  const std::string file = folder.write("a.key", "key");
  ASSERT_EQ(::chmod(folder.path("").c_str(), 0700), 0);
  const auto hint = [&] { return file_hint(file, EACCES); };
  std::string of_folder = folder.path("");
  of_folder.pop_back();
  EXPECT_NE(run_as(kAnotherUser, hint).find("enter the directory \"" + of_folder + '"'), std::string::npos)
      << run_as(kAnotherUser, hint);
  ASSERT_EQ(::chmod(folder.path("").c_str(), 0711), 0);
  const std::string of_file = run_as(kAnotherUser, hint);  // the system may have no names for the numbers
  for (const std::string& part :
       {std::string("uid 65534"), " read the file \"" + file + '"', std::string("uid 0")})
    EXPECT_NE(of_file.find(part), std::string::npos) << of_file;
  EXPECT_TRUE(of_file.ends_with("with mode 0600.")) << of_file;
  const std::string of_directory = run_as(kAnotherUser, [&] { return file_hint(of_folder, EACCES); });
  EXPECT_NE(of_directory.find("read the directory \"" + of_folder + '"'), std::string::npos) << of_directory;
  ::setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1", 1);
  const std::string in_pod = run_as(kAnotherUser, hint);
  ::unsetenv("KUBERNETES_SERVICE_HOST");
  EXPECT_NE(in_pod.find("fsGroup"), std::string::npos) << in_pod;
}

}  // namespace
}  // namespace pgveil::tls
