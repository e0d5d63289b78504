// Files of certificates and keys: each is opened once, even if other files get its name in the meantime.
#include "tls/internal/file_content.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/tls/peers.h"

namespace pgveil::tls::test {
namespace {

std::string content_text(const FileContent& content) {
  std::string text(100'000, '\0');
  const int size = BIO_read(content.bio().get(), text.data(), static_cast<int>(text.size()));
  text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return text;
}

TEST(FileContent, IsTheWholeFile) {
  const TemporaryFolder folder;
  for (const std::size_t size : {0U, 1U, 16'383U, 16'384U, 70'000U}) {
    const std::string text(size, 'x');
    const auto content = FileContent::read(folder.write("a", text));
    ASSERT_TRUE(content);
    EXPECT_EQ(content_text(*content), text);
    EXPECT_EQ(content_text(*content), text) << "each time from the beginning";
  }
}

// A shell makes such a file for <(command).
TEST(FileContent, IsAllThatComesThroughAPipe) {
  const TemporaryFolder folder;
  const std::string path = folder.path("fifo");
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const std::string text(50'000, 'x');
  const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK);
  std::ofstream writer(path);
  ::close(reader);
  const auto file = OpenFile::open(path);
  ASSERT_TRUE(file);
  writer << text;
  writer.close();
  const auto content = FileContent::read(*file);
  ASSERT_TRUE(content);
  EXPECT_EQ(content_text(*content), text);
}

TEST(FileContent, WaitsForNobodyToOpenAPipe) {
  const TemporaryFolder folder;
  const std::string path = folder.path("fifo");
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const auto content = FileContent::read(path);
  ASSERT_TRUE(content);
  EXPECT_EQ(content_text(*content), "");
}

TEST(FileContent, IsMissingWithTheErrorOfTheSystem) {
  const TemporaryFolder folder;
  EXPECT_EQ(FileContent::read("/nonexistent/a").error(), ENOENT);
  EXPECT_EQ(FileContent::read(folder.path(".")).error(), EISDIR);
}

TEST(OpenFile, StaysTheSameIfAnotherTakesItsName) {
  const TemporaryFolder folder;
  const std::string path = folder.write("a.key", "checked");
  const auto file = OpenFile::open(path);
  ASSERT_TRUE(file);
  std::filesystem::rename(folder.write("b.key", "another"), path);
  EXPECT_EQ(content_text(FileContent::read(*file).value()), "checked");
}

// Two files exchange their names again and again: one with the right mode and the wrong key, one with the
// wrong mode and the right key. Neither must be accepted.
TEST(KeyFile, IsTheOneWhoseModeWasChecked) {
  const Site site;
  CertificateRequest request;
  request.common_names = {"app"};
  const Identity app = issued_by(site.root, request);
  auto settings = site.client_settings();
  settings.sslcert = site.folder.write("app.crt", app.certificate_pem());
  settings.sslkey = site.folder.write("app.key", site.server.key_pem());
  const std::string open = site.folder.write("open.key", app.key_pem());
  ASSERT_EQ(::chmod(open.c_str(), 0644), 0);
  const auto base = Site::build(site.client_settings());

  std::atomic<bool> done = false;
  std::thread exchanger([&] {
    while (!done) ::renameat2(AT_FDCWD, open.c_str(), AT_FDCWD, settings.sslkey.c_str(), RENAME_EXCHANGE);
  });
  int taken = 0, too_open = 0, wrong = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
  while (std::chrono::steady_clock::now() < end) {
    const auto context = base->with_certificate(settings.sslcert, settings.sslkey);
    if (context)
      ++taken;
    else if (context.error().front().message.find("group or world access") != std::string::npos)
      ++too_open;
    else
      ++wrong;
  }
  done = true;
  exchanger.join();
  EXPECT_EQ(taken, 0);
  EXPECT_GT(too_open + wrong, 0);
}

}  // namespace
}  // namespace pgveil::tls::test
