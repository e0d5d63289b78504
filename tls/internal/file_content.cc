#include "tls/internal/file_content.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <new>
#include <utility>

namespace pgveil::tls {
namespace {

constexpr std::size_t kFirstBytes = 16'384;

// Moves the bytes to a larger block of memory, and wipes the old block.
void grow(std::vector<unsigned char>& bytes, std::size_t size) {
  std::vector<unsigned char> larger(size);
  std::copy(bytes.begin(), bytes.end(), larger.begin());
  OPENSSL_cleanse(bytes.data(), bytes.size());
  bytes.swap(larger);
}

}  // namespace

tl::expected<OpenFile, int> OpenFile::open(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) return tl::unexpected(errno);
  OpenFile file(descriptor, {});
  if (::fstat(descriptor, &file.status_) != 0) return tl::unexpected(errno);
  // open() must not wait for a writer of a FIFO, but read() must wait for its data.
  if (::fcntl(descriptor, F_SETFL, O_RDONLY) != 0) return tl::unexpected(errno);
  return file;
}

OpenFile::OpenFile(OpenFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), status_(other.status_) {}

OpenFile::~OpenFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

tl::expected<FileContent, int> FileContent::read(const OpenFile& file) {
  FileContent content;
  auto& bytes = content.bytes_;
  // One byte more than the expected size, so that read() finds the end without a larger block.
  const auto expected_size =
      S_ISREG(file.status().st_mode) ? static_cast<std::size_t>(file.status().st_size) : 0;
  if (expected_size > kMaxBytes) return tl::unexpected(EFBIG);
  bytes.resize(std::max(expected_size + 1, kFirstBytes));
  std::size_t size = 0;
  for (;;) {
    if (size > kMaxBytes) return tl::unexpected(EFBIG);
    if (size == bytes.size()) grow(bytes, 2 * size);
    const auto got = ::read(file.descriptor_, bytes.data() + size, bytes.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return tl::unexpected(errno);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  bytes.resize(size);
  return content;
}

tl::expected<FileContent, int> FileContent::read(const std::string& path) {
  const auto file = OpenFile::open(path);
  if (!file) return tl::unexpected(file.error());
  return read(*file);
}

FileContent::~FileContent() {
  OPENSSL_cleanse(bytes_.data(), bytes_.size());
}

Bio FileContent::bio() const {
  static_assert(kMaxBytes < INT_MAX);
  // BIO_new_mem_buf() does not accept an empty block.
  Bio bio(bytes_.empty() ? BIO_new(BIO_s_null())
                         : BIO_new_mem_buf(bytes_.data(), static_cast<int>(bytes_.size())));
  if (!bio) throw std::bad_alloc();
  return bio;
}

Infos FileContent::infos() const {
  std::string no_passphrase;  // an encrypted key in the file must not cause a prompt
  return Infos(PEM_X509_INFO_read_bio(bio().get(), nullptr, nullptr, no_passphrase.data()));
}

bool is_end_of_pem() {
  const unsigned long error = ERR_peek_last_error();
  if (ERR_GET_LIB(error) != ERR_LIB_PEM || ERR_GET_REASON(error) != PEM_R_NO_START_LINE) return false;
  ERR_clear_error();
  return true;
}

}  // namespace pgveil::tls
