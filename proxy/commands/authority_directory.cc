#include "proxy/commands/authority_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <thread>
#include <utility>
#include <vector>

#include "proxy/base/descriptor.h"
#include "proxy/base/exit_code.h"
#include "proxy/commands/terminal_table.h"
#include "proxy/config/values.h"
#include "tls/file_hint.h"

namespace pgveil::proxy {
namespace {

using values::in_quotes;

// Returns whether there is anything of this name, also a symbolic link to nothing.
bool exists(const std::string& path) {
  std::error_code error;
  const auto type = std::filesystem::symlink_status(path, error).type();
  return type != std::filesystem::file_type::not_found && error != std::errc::filename_too_long;
}

// The error is errno, such as EISDIR.
tl::expected<std::string, int> read_text(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (file.get() < 0) return tl::unexpected(errno);
  std::string text;
  std::array<char, 16'384> part{};
  ssize_t size = 0;
  while ((size = ::read(file.get(), part.data(), part.size())) > 0 || (size < 0 && errno == EINTR))
    if (size > 0) text.append(part.data(), static_cast<std::size_t>(size));
  if (size < 0) return tl::unexpected(errno);
  return text;
}

CertsFailure cannot_read(const std::string& path, int error) {
  return unusable_input(fmt::format("{} cannot be read: {}", in_quotes(path), std::strerror(error)),
                        tls::file_hint(path, error));
}

CertsFailure damaged(const std::string& path, int line, std::string_view format) {
  return unusable_input(fmt::format("line {} of {} cannot be read", line, in_quotes(path)),
                        fmt::format("Each line is {}. Bring back the file from a copy.", format));
}

// The list and the CRL are the authority's own: they are replaced.
std::optional<CertsFailure> write_own(const std::string& path, const std::string& content) {
  const int error =
      exists(path) ? replace_whole_file(path, content) : create_whole_file(path, content, kCertificateMode);
  if (error == 0) return std::nullopt;
  return cannot_write(path, error);
}

CertsFailure missing_authority(const std::string& directory, const AuthorityFiles& files) {
  const std::string where = directory == "." ? "" : " --dir " + directory;
  return unusable_input(fmt::format("no authority in {}: {} does not exist", in_quotes(directory),
                                    in_quotes(files.certificate)),
                        fmt::format("Name its directory with --dir, or make one: pgveil certs ca{}", where));
}

}  // namespace

CertsFailure cannot_write(const std::string& path, int error) {
  if (error == EEXIST)
    return {kExitCannotCreate, value_error(fmt::format("{} exists already", in_quotes(path)),
                                           "Nothing was changed. Remove the file, or choose another name.")};
  if (error == ENAMETOOLONG)
    return {kExitCannotCreate,
            value_error(fmt::format("{} cannot be written: {}", in_quotes(path), std::strerror(error)),
                        "Choose a shorter name for the files with --out.")};
  return {kExitCannotCreate,
          value_error(fmt::format("{} cannot be written: {}", in_quotes(path), std::strerror(error)),
                      "Check the directory, and that the user of this process may write to it.")};
}

CertsFailure unusable_input(std::string message, std::string hint) {
  return {kExitNoInput, value_error(std::move(message), std::move(hint))};
}

AuthorityFiles authority_files(const std::string& directory) {
  const std::filesystem::path base(directory);
  return {(base / "ca.crt").string(), (base / "ca.key").string(), (base / "ca.crl").string(),
          (base / "ca.revoked").string(), (base / "ca.issued").string()};
}

std::optional<CertsFailure> existing_pair(const std::string& path) {
  for (const std::string& file : {path + ".key", path + ".crt"})
    if (exists(file)) return cannot_write(file, EEXIST);
  return std::nullopt;
}

std::optional<CertsFailure> create_pair(const std::string& path, const tls::NewIdentity& identity) {
  const std::string key = path + ".key", certificate = path + ".crt";
  if (const int error = create_whole_file(key, identity.key, kKeyMode); error != 0)
    return cannot_write(key, error);
  const int error = create_whole_file(certificate, identity.certificate, kCertificateMode);
  if (error == 0) return std::nullopt;
  ::unlink(key.c_str());  // it was made by us, just now
  return cannot_write(certificate, error);
}

std::optional<CertsFailure> existing_authority(const AuthorityFiles& files) {
  for (const std::string& file : {files.key, files.certificate})
    if (exists(file)) return cannot_write(file, EEXIST);
  for (const std::string& file : {files.crl, files.revoked, files.issued})
    if (exists(file))
      return CertsFailure{
          kExitCannotCreate,
          value_error(
              fmt::format("{} exists already", in_quotes(file)),
              "Nothing was changed. The file is of a former authority: move it away, or choose another "
              "directory with --dir.")};
  return std::nullopt;
}

tl::expected<DirectoryLock, CertsFailure> lock_directory(const std::string& directory,
                                                         std::chrono::milliseconds patience) {
  constexpr std::chrono::milliseconds kPause{50};
  const auto end = std::chrono::steady_clock::now() + patience;
  for (bool is_first = true;; is_first = false) {
    auto lock = DirectoryLock::try_acquire(directory);
    if (lock) return *std::move(lock);
    if (lock.error() != EWOULDBLOCK)
      return tl::unexpected(unusable_input(
          fmt::format("directory {} cannot be locked: {}", in_quotes(directory), std::strerror(lock.error())),
          tls::file_hint(directory, lock.error())));
    if (std::chrono::steady_clock::now() >= end)
      return tl::unexpected(
          CertsFailure{kExitCannotCreate,
                       value_error(fmt::format("another process has locked {}", in_quotes(directory)),
                                   "Nothing was changed. Run the command again when the other \"pgveil "
                                   "certs\" has ended; \"fuser -v DIRECTORY\" shows which process it is.")});
    if (is_first)
      std::cerr << printable_lines(
                       fmt::format("waiting for another \"pgveil certs\" in {}\n", in_quotes(directory)))
                << std::flush;
    std::this_thread::sleep_for(kPause);
  }
}

tl::expected<AuthorityDirectory, CertsFailure> AuthorityDirectory::open(const std::string& directory) {
  AuthorityFiles files = authority_files(directory);
  if (!exists(files.certificate)) return tl::unexpected(missing_authority(directory, files));
  auto lock = lock_directory(directory);
  if (!lock) return tl::unexpected(lock.error());
  auto authority = tls::CertificateAuthority::load(files.certificate, files.key);
  if (!authority)
    return tl::unexpected(
        unusable_input(std::move(authority.error().message), std::move(authority.error().hint)));
  return AuthorityDirectory(std::move(files), *std::move(lock), *std::move(authority));
}

tl::expected<RevokedList, CertsFailure> AuthorityDirectory::revoked() const {
  if (!exists(files_.revoked)) {
    if (!exists(files_.crl)) return RevokedList{};
    return tl::unexpected(unusable_input(
        fmt::format("{} does not exist, but {} does", in_quotes(files_.revoked), in_quotes(files_.crl)),
        "A new CRL would not contain the certificates that were revoked. Bring the list back, or remove the CRL too."));
  }
  const auto text = read_text(files_.revoked);
  if (!text) return tl::unexpected(cannot_read(files_.revoked, text.error()));
  auto list = parse_revoked_list(*text);
  if (list) return *std::move(list);
  return tl::unexpected(
      damaged(files_.revoked, list.error(), "the number of the last CRL, or SERIAL TIME SUBJECT"));
}

tl::expected<IssuedList, CertsFailure> AuthorityDirectory::issued() const {
  if (!exists(files_.issued)) return IssuedList{};
  const auto text = read_text(files_.issued);
  if (!text) return tl::unexpected(cannot_read(files_.issued, text.error()));
  auto list = parse_issued_list(*text);
  if (list) return *std::move(list);
  return tl::unexpected(damaged(files_.issued, list.error(), "SERIAL KEY SUBJECT"));
}

std::optional<CertsFailure> AuthorityDirectory::record(std::vector<IssuedCertificate> certificates) const {
  auto list = issued();
  if (!list) return list.error();
  for (auto& certificate : certificates) list->add(std::move(certificate));
  return write_own(files_.issued, text_of(*list));
}

std::optional<CertsFailure> AuthorityDirectory::publish(RevokedList list,
                                                        const tls::Validity& validity) const {
  ++list.crl_number;
  std::vector<tls::RevokedSerial> serials;
  serials.reserve(list.certificates.size());
  for (const auto& certificate : list.certificates) serials.push_back({certificate.serial, certificate.time});
  const std::string crl = authority_.crl(serials, list.crl_number, validity);
  // The list first: what is in a CRL is also in the next one.
  if (auto failure = write_own(files_.revoked, text_of(list))) return failure;
  return write_own(files_.crl, crl);
}

}  // namespace pgveil::proxy
