#include "proxy/commands/authority_directory.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "proxy/base/exit_code.h"
#include "proxy/config/values.h"
#include "tls/file_hint.h"

namespace pgveil::proxy {
namespace {

using values::in_quotes;

// Returns whether there is anything of this name, also a symbolic link to nothing.
bool exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::symlink_status(path, error).type() != std::filesystem::file_type::not_found;
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
          (base / "ca.revoked").string()};
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

tl::expected<AuthorityDirectory, CertsFailure> AuthorityDirectory::open(const std::string& directory) {
  AuthorityFiles files = authority_files(directory);
  if (!exists(files.certificate)) return tl::unexpected(missing_authority(directory, files));
  auto lock = DirectoryLock::acquire(directory);
  if (!lock)
    return tl::unexpected(unusable_input(
        fmt::format("directory {} cannot be locked: {}", in_quotes(directory), std::strerror(lock.error())),
        tls::file_hint(directory, lock.error())));
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
  std::ifstream file(files_.revoked, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file)
    return tl::unexpected(unusable_input(fmt::format("{} cannot be read", in_quotes(files_.revoked)),
                                         "Check the mode of the file."));
  auto list = parse_revoked_list(text);
  if (list) return *std::move(list);
  return tl::unexpected(unusable_input(
      fmt::format("line {} of {} cannot be read", list.error(), in_quotes(files_.revoked)),
      "Each line is the number of the last CRL, or SERIAL TIME SUBJECT. Bring back the file from a copy."));
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
