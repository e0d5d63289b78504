// A file of certificates, keys or CRLs, opened once: what is judged of it is true of what is read. For the
// .cc files of this layer only.
#pragma once

#include <sys/stat.h>

#include <span>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "tls/internal/openssl.h"

namespace pgveil::tls {

class OpenFile {
 public:
  // The error is that of the system, such as ENOENT. Does not wait for a writer if the file is a FIFO.
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

// What an open file holds; wiped at the end, as it may hold a key.
class FileContent {
 public:
  // More than all authorities of a system, and than the CRL of a large authority.
  static constexpr std::size_t kMaxBytes = std::size_t{256} << 20;

  // The error is that of the system; EFBIG beyond kMaxBytes.
  [[nodiscard]] static tl::expected<FileContent, int> read(const OpenFile& file);
  [[nodiscard]] static tl::expected<FileContent, int> read(const std::string& path);
  FileContent(FileContent&&) noexcept = default;
  FileContent& operator=(FileContent&&) = delete;
  ~FileContent();

  // Reads from the beginning; must not outlive this.
  [[nodiscard]] Bio bio() const;
  [[nodiscard]] std::span<const unsigned char> bytes() const { return bytes_; }

 private:
  FileContent() = default;
  std::vector<unsigned char> bytes_;
};

// After a PEM_read_bio_...() that returned nothing: whether that was only the end of what is in the file.
// Empties OpenSSL's queue of errors if it was.
[[nodiscard]] bool is_end_of_pem();

}  // namespace pgveil::tls
