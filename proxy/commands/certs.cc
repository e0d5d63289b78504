#include "proxy/commands/certs.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <utility>

#include "proxy/base/exit_code.h"
#include "proxy/commands/certs_show.h"
#include "proxy/commands/certs_usage.h"
#include "proxy/commands/terminal_table.h"
#include "proxy/config/config_report.h"
#include "proxy/config/values.h"
#include "tls/digest.h"
#include "tls/host_name.h"
#include "tls/stored_credentials.h"

namespace pgveil::proxy {
namespace {

using Action = CertsRequest::Action;
using Output = tl::expected<std::string, CertsFailure>;
using tls::Validity;
using values::in_quotes;

constexpr std::int64_t kSecondsPerDay = 86'400;
// How much the clock of another machine may be late.
constexpr std::int64_t kClockDifference = 3'600;
constexpr int kAuthorityDays = 3'650;
constexpr int kLeafDays = 365;
constexpr int kCrlDays = 90;

std::string until(const Validity& validity) {
  return "valid until " + tls::utc_text(validity.ends);
}

Validity validity_from(std::int64_t now, std::int64_t days) {
  return {now - kClockDifference, now + days * kSecondsPerDay};
}

std::string renewal_of(const AuthorityDirectory& directory) {
  return "pgveil certs renew " + directory.files().certificate;
}

CertsFailure days_beyond(const AuthorityDirectory& directory, std::int64_t now) {
  const std::int64_t ends = directory.authority().certificate().not_after;
  return {kExitUsage, value_error(fmt::format("--days goes beyond the authority, which is valid until {}",
                                              tls::utc_text(ends)),
                                  fmt::format("Use {} days or less, or first renew the authority: {}",
                                              (ends - now) / kSecondsPerDay, renewal_of(directory)))};
}

// Returns the validity of what the authority signs now, which ends at the latest with the authority's own. A number of days that
// was asked for is not shortened.
tl::expected<Validity, CertsFailure> validity_within(const AuthorityDirectory& directory,
                                                     std::optional<int> days, std::int64_t default_days,
                                                     std::int64_t now) {
  const tls::PeerCertificate& authority = directory.authority().certificate();
  if (now > authority.not_after)
    return tl::unexpected(unusable_input("the authority has expired on " + tls::utc_text(authority.not_after),
                                         "Renew it: " + renewal_of(directory)));
  if (now < authority.not_before)
    return tl::unexpected(
        unusable_input("the authority is not valid before " + tls::utc_text(authority.not_before),
                       "Check the clock of this machine."));
  Validity validity = validity_from(now, days.value_or(default_days));
  if (days && validity.ends > authority.not_after) return tl::unexpected(days_beyond(directory, now));
  return Validity{std::max(validity.begins, authority.not_before),
                  std::min(validity.ends, authority.not_after)};
}

// Two authorities with one name would be taken for each other when a CRL is looked for.
std::string unique_authority_name() {
  std::array<std::uint8_t, 4> bytes{};
  tls::fill_random(bytes);
  return fmt::format("pgveil development CA {:02x}{:02x}{:02x}{:02x}", bytes[0], bytes[1], bytes[2],
                     bytes[3]);
}

std::optional<CertsFailure> make_directory(const std::string& directory) {
  constexpr mode_t kDirectoryMode = 0755;
  if (::mkdir(directory.c_str(), kDirectoryMode) == 0 || errno == EEXIST) return std::nullopt;
  return cannot_write(directory, errno);
}

// Libpq computes the hash of a channel binding from the certificate's signature, and Ed25519 has no hash.
constexpr std::string_view kNoChannelBinding =
    "\nnote: Ed25519 signatures have no channel binding. Logins by scram-sha-256 to servers with such certificates fail "
    "with psql, unless it has channel_binding=disable.\n";

// --- the actions ---

Output make_authority(const CertsRequest& request, std::int64_t now) {
  if (auto failure = make_directory(request.directory)) return tl::unexpected(*std::move(failure));
  const auto lock = lock_directory(request.directory);
  if (!lock) return tl::unexpected(lock.error());
  const AuthorityFiles files = authority_files(request.directory);
  if (auto failure = existing_authority(files)) return tl::unexpected(*std::move(failure));
  const std::string path = (std::filesystem::path(request.directory) / "ca").string();
  const std::string name = request.name.empty() ? unique_authority_name() : request.name;
  const Validity validity = validity_from(now, request.days.value_or(kAuthorityDays));
  if (auto failure = create_pair(path, tls::new_authority(name, request.key, validity)))
    return tl::unexpected(*std::move(failure));
  return fmt::format("Created {} and {}: the authority \"{}\", {}.\n\n{}{}", files.certificate, files.key,
                     name, until(validity), usage_of_authority(files.certificate),
                     request.key == tls::NewKey::ed25519 ? kNoChannelBinding : "");
}

std::string description_of(const tls::NewCertificate& certificate) {
  if (certificate.role == tls::NewCertificate::Role::client)
    return fmt::format("certificate of the client \"{}\"", certificate.common_name);
  tls::CertificateNames names;
  for (const auto& name : certificate.dns_names)
    names.alternative_names.push_back({tls::CertificateNames::Kind::dns_name, name});
  for (const auto& address : certificate.ip_addresses)
    names.alternative_names.push_back({tls::CertificateNames::Kind::ip_address, address});
  return "certificate of a server for " + tls::describe(names);
}

// Programs would take a certificate with the name of its issuer for one that has issued itself.
std::optional<CertsFailure> name_of_authority(const CertsRequest& request,
                                              const tls::CertificateAuthority& authority) {
  const std::string& name = request.certificate.common_name;
  const auto& taken = authority.certificate().common_names;
  if (name.empty() || std::ranges::find(taken, name) == taken.end()) return std::nullopt;
  return CertsFailure{kExitUsage,
                      value_error(fmt::format("{} is the name of the authority", in_quotes(name)),
                                  "Use another name, or an authority that was made with another --name.")};
}

// Returns what the list of issued certificates has about a certificate.
IssuedCertificate entry_of(const tls::StoredCertificate& certificate) {
  return {certificate.values.serial, certificate.key_id, certificate.values.subject};
}

Output issue(const CertsRequest& request, std::int64_t now) {
  const auto directory = AuthorityDirectory::open(request.directory);
  if (!directory) return tl::unexpected(directory.error());
  const std::string path = (std::filesystem::path(request.directory) / request.output).string();
  if (auto failure = existing_pair(path)) return tl::unexpected(*std::move(failure));
  const tls::CertificateAuthority& authority = directory->authority();
  if (auto failure = name_of_authority(request, authority)) return tl::unexpected(*std::move(failure));
  const auto validity = validity_within(*directory, request.days, kLeafDays, now);
  if (!validity) return tl::unexpected(validity.error());
  const tls::NewIdentity made = authority.issue(request.certificate, request.key, *validity);
  if (auto failure = directory->record({entry_of(tls::stored_certificate(made.certificate))}))
    return tl::unexpected(*std::move(failure));
  if (auto failure = create_pair(path, made)) return tl::unexpected(*std::move(failure));
  const bool is_server = request.certificate.role == tls::NewCertificate::Role::server;
  return fmt::format(
      "Created {0}.crt and {0}.key: {1}, {2}.\n\n{3}{4}", path, description_of(request.certificate),
      until(*validity),
      is_server ? usage_of_server(path)
                : usage_of_client(path, directory->files().certificate, request.certificate.common_name),
      is_server && !authority.gives_channel_binding() ? kNoChannelBinding : "");
}

std::string directory_of(const CertsRequest& request) {
  if (!request.directory.empty()) return request.directory;
  const auto directory = std::filesystem::path(request.files.front()).parent_path();
  return directory.empty() ? "." : directory.string();
}

// Reads the one certificate of a file, which the authority must have issued.
tl::expected<tls::StoredCertificate, CertsFailure> read_issued(const std::string& file,
                                                               const tls::CertificateAuthority& authority) {
  auto stored = tls::read_stored_file(file);
  if (!stored)
    return tl::unexpected(unusable_input(std::move(stored.error().message), std::move(stored.error().hint)));
  if (stored->certificates.size() != 1 || stored->blocks != 1)
    return tl::unexpected(unusable_input(fmt::format("{} is not a file of one certificate", in_quotes(file)),
                                         "Name the file that ends with .crt."));
  if (authority.has_issued(stored->certificates.front().pem)) return std::move(stored->certificates.front());
  return tl::unexpected(unusable_input(fmt::format("the certificate in {} was not issued by \"{}\"",
                                                   in_quotes(file), authority.certificate().subject),
                                       "Name the directory of the authority that has issued it with --dir."));
}

bool is_authority_itself(const tls::StoredCertificate& certificate,
                         const tls::CertificateAuthority& authority) {
  return certificate.is_authority && certificate.values.subject == authority.certificate().subject;
}

// A CRL of this program holds no negative serial, which RFC 5280 forbids, so the certificate could never be revoked.
std::optional<CertsFailure> negative_serial(const tls::StoredCertificate& certificate,
                                            const std::string& file) {
  if (is_serial(certificate.values.serial)) return std::nullopt;
  return unusable_input(fmt::format("the certificate in {} has the negative serial {}", in_quotes(file),
                                    certificate.values.serial),
                        "It cannot be revoked here. Replace the authority, or refuse the name in the rules.");
}

// Returns the certificate and all others with its key that the authority is known to have issued.
std::vector<IssuedCertificate> with_same_key(const IssuedCertificate& certificate, const IssuedList& issued) {
  std::vector<IssuedCertificate> all{certificate};
  for (auto& each : issued.with_key(certificate.key_id))
    if (each.serial != certificate.serial) all.push_back(std::move(each));
  return all;
}

// Returns a failure if the certificate, or another one with its key, is revoked.
std::optional<CertsFailure> revoked_before(const tls::StoredCertificate& certificate, const std::string& file,
                                           const AuthorityDirectory& directory) {
  const auto revoked = directory.revoked();
  if (!revoked) return revoked.error();
  const auto issued = directory.issued();
  if (!issued) return issued.error();
  for (const auto& each : with_same_key(entry_of(certificate), *issued))
    if (const auto* entry = revoked->find(each.serial); entry != nullptr)
      return unusable_input(
          fmt::format("the certificate in {} was revoked on {}", in_quotes(file), tls::utc_text(entry->time)),
          "Make a new one with a new key, under another name: --out NAME.");
  return std::nullopt;
}

// Returns the whole days for which a certificate was made. It begins a little before it was made.
std::int64_t days_of(const tls::PeerCertificate& certificate) {
  const std::int64_t seconds = certificate.not_after - certificate.not_before - kClockDifference;
  return std::max<std::int64_t>(1, (seconds + kSecondsPerDay - 1) / kSecondsPerDay);
}

Output renew(const CertsRequest& request, std::int64_t now) {
  const auto directory = AuthorityDirectory::open(directory_of(request));
  if (!directory) return tl::unexpected(directory.error());
  const tls::CertificateAuthority& authority = directory->authority();
  const std::string& file = request.files.front();
  const auto old = read_issued(file, authority);
  if (!old) return tl::unexpected(old.error());
  const bool is_itself = is_authority_itself(*old, authority);
  if (auto failure = is_itself ? std::nullopt : negative_serial(*old, file))
    return tl::unexpected(*std::move(failure));
  if (auto failure = revoked_before(*old, file, *directory)) return tl::unexpected(*std::move(failure));
  const std::int64_t days = days_of(old->values);
  const auto validity = is_itself ? validity_from(now, request.days.value_or(days))
                                  : validity_within(*directory, request.days, days, now);
  if (!validity) return tl::unexpected(validity.error());
  const std::string renewed = authority.renew(old->pem, *validity);
  // The old one stays valid until it expires, so it must be known when its successor is revoked.
  if (!is_itself)
    if (auto failure = directory->record({entry_of(*old), entry_of(tls::stored_certificate(renewed))}))
      return tl::unexpected(*std::move(failure));
  if (const int error = replace_whole_file(file, renewed); error != 0)
    return tl::unexpected(cannot_write(file, error));
  return fmt::format(
      "Renewed {}: {}. The key and the names are as before. Reload the programs that use it.\n", file,
      until(*validity));
}

Output publish(const AuthorityDirectory& directory, RevokedList list, std::optional<int> days,
               std::int64_t now) {
  const auto validity = validity_within(directory, days, kCrlDays, now);
  if (!validity) return tl::unexpected(validity.error());
  const std::size_t count = list.certificates.size();
  if (auto failure = directory.publish(std::move(list), *validity))
    return tl::unexpected(*std::move(failure));
  return fmt::format(
      "Wrote {0}: {1} revoked, {2}. An expired CRL refuses all certificates: run \"pgveil certs crl\" "
      "before.\n\n{3}",
      directory.files().crl, count, until(*validity), usage_of_crl(directory.files().crl));
}

// Adds all that are not in the list yet. Returns the text for standard output.
std::string revoke_all(const std::vector<IssuedCertificate>& certificates, const std::string& named,
                       RevokedList& list, std::int64_t now) {
  std::string text;
  for (const auto& [serial, key_id, subject] : certificates) {
    if (list.find(serial) != nullptr) continue;
    list.certificates.push_back({serial, now, subject});
    text += fmt::format("Revoked {}: {}, serial {}{}.\n", named, subject, serial,
                        serial == certificates.front().serial ? "" : ", with the same key");
  }
  return text.empty() ? fmt::format("{} was revoked before.\n", named) : text;
}

Output revoke_file(const AuthorityDirectory& directory, const IssuedList& issued, const std::string& file,
                   RevokedList& list, std::int64_t now) {
  const auto certificate = read_issued(file, directory.authority());
  if (!certificate) return tl::unexpected(certificate.error());
  if (is_authority_itself(*certificate, directory.authority()))
    return tl::unexpected(
        unusable_input(fmt::format("{} is the authority itself", in_quotes(file)),
                       "An authority cannot revoke itself. Remove it from ssl_ca_file and sslrootcert."));
  if (auto failure = negative_serial(*certificate, file)) return tl::unexpected(*std::move(failure));
  return revoke_all(with_same_key(entry_of(*certificate), issued), file, list, now);
}

// Revokes by the serial alone, for a file that is lost.
Output revoke_serial(const AuthorityDirectory& directory, const IssuedList& issued, const std::string& serial,
                     RevokedList& list, std::int64_t now) {
  if (serial == directory.authority().certificate().serial)
    return tl::unexpected(unusable_input(fmt::format("{} is the serial of the authority itself", serial),
                                         "Use the serial of a certificate that it has issued."));
  const std::string named = "serial " + serial;
  const auto* known = issued.find(serial);
  if (known == nullptr)
    return revoke_all({{serial, "", "(unknown)"}}, named, list, now) +
           fmt::format("note: {} is not in {}. Check that it is right.\n", named, directory.files().issued);
  return revoke_all(with_same_key(*known, issued), named, list, now);
}

Output revoke(const CertsRequest& request, std::int64_t now) {
  const auto directory = AuthorityDirectory::open(directory_of(request));
  if (!directory) return tl::unexpected(directory.error());
  auto list = directory->revoked();
  if (!list) return tl::unexpected(list.error());
  const auto issued = directory->issued();
  if (!issued) return tl::unexpected(issued.error());
  std::string text;
  for (const std::string& file : request.files) {
    auto said = revoke_file(*directory, *issued, file, *list, now);
    if (!said) return said;
    text += *said;
  }
  for (const std::string& serial : request.serials) {
    auto said = revoke_serial(*directory, *issued, serial, *list, now);
    if (!said) return said;
    text += *said;
  }
  auto written = publish(*directory, *std::move(list), request.days, now);
  if (!written) return written;
  return text + *written;
}

Output make_crl(const CertsRequest& request, std::int64_t now) {
  const auto directory = AuthorityDirectory::open(request.directory);
  if (!directory) return tl::unexpected(directory.error());
  auto list = directory->revoked();
  if (!list) return tl::unexpected(list.error());
  return publish(*directory, *std::move(list), request.days, now);
}

Output show(const CertsRequest& request, std::int64_t now) {
  std::vector<ShownFile> files;
  files.reserve(request.files.size());
  for (const std::string& path : request.files) {
    auto stored = tls::read_stored_file(path);
    if (!stored)
      return tl::unexpected(
          unusable_input(std::move(stored.error().message), std::move(stored.error().hint)));
    files.emplace_back(path, *std::move(stored));
  }
  return request.as_json ? certs_json(files, now) : certs_text(files, now);
}

}  // namespace

Output perform(const CertsRequest& request, std::int64_t now) {
  switch (request.action) {
    case Action::ca: return make_authority(request, now);
    case Action::server:
    case Action::client: return issue(request, now);
    case Action::renew: return renew(request, now);
    case Action::revoke: return revoke(request, now);
    case Action::crl: return make_crl(request, now);
    case Action::show: return show(request, now);
  }
  return "";
}

int run_certs(const CertsRequest& request) {
  const auto output = perform(request, std::time(nullptr));
  if (output) {
    std::cout << printable_lines(*output) << std::flush;
    return std::cout ? kExitOk : kExitUnavailable;
  }
  ConfigReport report;
  report.add_error(output.error().error);
  std::cerr << printable_lines(report.lines()) << std::flush;
  return output.error().exit_code;
}

}  // namespace pgveil::proxy
