#include "proxy/snapshot/file_digests.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <system_error>
#include <vector>

#include "proxy/base/descriptor.h"

namespace pgveil::proxy {
namespace {

namespace filesystem = std::filesystem;

std::span<const std::uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

const tls::Sha256& process_key() {
  static const tls::Sha256 key = [] {
    tls::Sha256 random{};
    tls::fill_random(random);
    return random;
  }();
  return key;
}

// A digest to which parts are added one after the other.
class Digest {
 public:
  void add(std::span<const std::uint8_t> part) {
    std::vector<std::uint8_t> all(value_.begin(), value_.end());
    const auto digest = tls::sha256(part);
    all.insert(all.end(), digest.begin(), digest.end());
    value_ = tls::hmac_sha256(process_key(), all);
  }
  void add(std::string_view text) { add(bytes_of(text)); }
  void add_number(std::uint64_t number) { add(std::to_string(number)); }
  [[nodiscard]] const tls::Sha256& value() const { return value_; }

 private:
  tls::Sha256 value_{};
};

void add_content(int file, Digest& digest) {
  std::vector<std::uint8_t> part(std::size_t{64} << 10U);
  ssize_t size = 0;
  while ((size = ::read(file, part.data(), part.size())) > 0 || (size < 0 && errno == EINTR))
    if (size > 0) digest.add(std::span(part).first(static_cast<std::size_t>(size)));
  if (size < 0) digest.add_number(static_cast<std::uint64_t>(errno));
  tls::wipe(part);
}

// Opens the file once, so that the file whose type is known is the file that is read. Does not wait for the writer of a FIFO.
void add_file(const filesystem::path& path, Digest& digest) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0)
    return digest.add_number(static_cast<std::uint64_t>(errno));
  // A key file that others may read is refused.
  for (const std::uint64_t number : {std::uint64_t{status.st_mode}, std::uint64_t{status.st_uid}})
    digest.add_number(number);
  if (S_ISREG(status.st_mode)) add_content(file.get(), digest);
}

void add_directory(const filesystem::path& path, Digest& digest) {
  std::error_code error;
  std::set<filesystem::path> entries;
  for (filesystem::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error))
    entries.insert(entry->path());
  if (error) digest.add_number(static_cast<std::uint64_t>(error.value()));
  for (const auto& entry : entries) {
    digest.add(entry.filename().native());
    if (!filesystem::is_directory(entry, error)) add_file(entry, digest);
  }
}

}  // namespace

FileDigests digest_files(const std::set<std::string>& paths) {
  FileDigests digests;
  // Such a process does not start: prepare() reports it.
  static const bool is_possible = tls::missing_algorithm().empty();
  if (!is_possible) return digests;
  for (const std::string& path : paths) {
    Digest digest;
    std::error_code error;
    if (filesystem::is_directory(path, error))
      add_directory(path, digest);
    else
      add_file(path, digest);
    digests.emplace(path, digest.value());
  }
  return digests;
}

}  // namespace pgveil::proxy
