// A file of certificates, keys or CRLs that is opened once, so that the checked file is the file that is
// read. This header is internal to tls/.
#pragma once

#include <openssl/x509.h>
#include <sys/stat.h>

#include <memory>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "tls/internal/openssl.h"

namespace pgveil::tls {

class OpenFile {
 public:
  // Opens the file; the error is errno, such as ENOENT. Does not wait for a writer if the file is a FIFO.
  [[nodiscard]] static tl::expected<OpenFile, int> open(const std::string& path);
  OpenFile(OpenFile&& other) noexcept;
  OpenFile& operator=(OpenFile&&) = delete;
  ~OpenFile();

  [[nodiscard]] const struct stat& status() const { return status_; }

 private:
  friend class FileContent;
  OpenFile(int descriptor, const struct stat& status) : descriptor_(descriptor), status_(status) {}
  int descriptor_;
  struct stat status_;
};

// The certificates, CRLs and keys of a PEM file.
struct FreedInfos {
  void operator()(STACK_OF(X509_INFO) * infos) const noexcept {
    sk_X509_INFO_pop_free(infos, X509_INFO_free);
  }
};
using Infos = std::unique_ptr<STACK_OF(X509_INFO), FreedInfos>;

// The content of an open file. It may be a key, so the destructor wipes it.
class FileContent {
 public:
  // The limit is larger than all authorities of a system, and than the CRL of a large authority.
  static constexpr std::size_t kMaxBytes = std::size_t{256} << 20;

  // Reads the whole file; the error is errno, or EFBIG above kMaxBytes.
  [[nodiscard]] static tl::expected<FileContent, int> read(const OpenFile& file);
  [[nodiscard]] static tl::expected<FileContent, int> read(const std::string& path);
  FileContent(FileContent&&) noexcept = default;
  FileContent& operator=(FileContent&&) = delete;
  ~FileContent();

  // Returns a BIO that reads from the beginning. This object must outlive it.
  [[nodiscard]] Bio bio() const;
  // Returns all that is in a PEM file, except for an encrypted key. Null: it cannot be read, and OpenSSL's error queue has
  // the reason.
  [[nodiscard]] Infos infos() const;
  [[nodiscard]] std::span<const unsigned char> bytes() const { return bytes_; }

 private:
  FileContent() = default;
  std::vector<unsigned char> bytes_;
};

// Returns, after a PEM_read_bio_...() that returned null, whether it only reached the end of the file. If so,
// clears OpenSSL's error queue.
[[nodiscard]] bool is_end_of_pem();

}  // namespace pgveil::tls
