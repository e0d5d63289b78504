// The files of a development authority: ca.crt, ca.key, ca.crl and the lists of issued and revoked certificates. Only one process at a time
// changes them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "proxy/base/whole_file.h"
#include "proxy/commands/issued_list.h"
#include "proxy/commands/revoked_list.h"
#include "proxy/config/config_error.h"
#include "tls/certificate_authority.h"

namespace pgveil::proxy {

// Why a command of `pgveil certs` has failed.
struct CertsFailure {
  int exit_code;
  ConfigError error;
};
// The failure for a file that exists or cannot be written. `error` is errno.
[[nodiscard]] CertsFailure cannot_write(const std::string& path, int error);
// The failure for a file that cannot be read, or is not what the command needs.
[[nodiscard]] CertsFailure unusable_input(std::string message, std::string hint);

// The modes of the files that are made, whatever the umask is.
inline constexpr mode_t kKeyMode = 0600;
inline constexpr mode_t kCertificateMode = 0644;

struct AuthorityFiles {
  std::string certificate;
  std::string key;
  std::string crl;
  std::string revoked;
  std::string issued;
};
[[nodiscard]] AuthorityFiles authority_files(const std::string& directory);

// Creates both files, PATH.crt and PATH.key, or none.
[[nodiscard]] std::optional<CertsFailure> create_pair(const std::string& path,
                                                      const tls::NewIdentity& identity);
// Returns a failure if one of the files of a pair exists.
[[nodiscard]] std::optional<CertsFailure> existing_pair(const std::string& path);
// Returns a failure if one of the files of an authority exists. A new authority must not go on with the lists of a former one.
[[nodiscard]] std::optional<CertsFailure> existing_authority(const AuthorityFiles& files);

// For how long a process waits for others that work in the same directory.
inline constexpr std::chrono::milliseconds kLockPatience{20'000};
// Locks the directory. Says on standard error that it waits, and fails if others still have the lock after `patience`.
[[nodiscard]] tl::expected<DirectoryLock, CertsFailure> lock_directory(
    const std::string& directory, std::chrono::milliseconds patience = kLockPatience);

class AuthorityDirectory {
 public:
  // Waits for the lock of the directory, which this object keeps, and loads the authority.
  [[nodiscard]] static tl::expected<AuthorityDirectory, CertsFailure> open(const std::string& directory);

  [[nodiscard]] const AuthorityFiles& files() const { return files_; }
  [[nodiscard]] const tls::CertificateAuthority& authority() const { return authority_; }

  // Reads the list of revoked certificates. Without a file it is empty, unless there is a CRL.
  [[nodiscard]] tl::expected<RevokedList, CertsFailure> revoked() const;
  // Reads the list of issued certificates. Without a file it is empty, as for an authority of another program.
  [[nodiscard]] tl::expected<IssuedList, CertsFailure> issued() const;
  // Writes what is missing in the list. Called before the certificates are written, so that each one that exists is in the list.
  [[nodiscard]] std::optional<CertsFailure> record(std::vector<IssuedCertificate> certificates) const;
  // Writes the list, with the number of the next CRL, and then that CRL.
  [[nodiscard]] std::optional<CertsFailure> publish(RevokedList list, const tls::Validity& validity) const;

 private:
  AuthorityDirectory(AuthorityFiles files, DirectoryLock lock, tls::CertificateAuthority authority)
      : files_(std::move(files)), lock_(std::move(lock)), authority_(std::move(authority)) {}

  AuthorityFiles files_;
  DirectoryLock lock_;
  tls::CertificateAuthority authority_;
};

}  // namespace pgveil::proxy
