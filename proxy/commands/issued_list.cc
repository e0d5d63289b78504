#include "proxy/commands/issued_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <sstream>
#include <utility>

#include "proxy/commands/revoked_list.h"

namespace pgveil::proxy {
namespace {

constexpr std::string_view kIssuedHead =
    "# Certificates that this authority has issued: serial, digest of the key, subject. Written by \"pgveil certs\".\n";

// "SERIAL KEY SUBJECT"
std::optional<IssuedCertificate> parse_issued(const std::string& line) {
  const auto first = line.find(' ');
  const auto second = first == std::string::npos ? first : line.find(' ', first + 1);
  if (second == std::string::npos) return std::nullopt;
  IssuedCertificate certificate{line.substr(0, first), line.substr(first + 1, second - first - 1),
                                line.substr(second + 1)};
  if (!is_serial(certificate.serial) || !is_serial(certificate.key_id)) return std::nullopt;
  return certificate;
}

}  // namespace

const IssuedCertificate* IssuedList::find(std::string_view serial) const {
  const auto found = std::ranges::find(certificates, serial, &IssuedCertificate::serial);
  return found == certificates.end() ? nullptr : &*found;
}

std::vector<IssuedCertificate> IssuedList::with_key(std::string_view key_id) const {
  std::vector<IssuedCertificate> found;
  std::ranges::copy_if(certificates, std::back_inserter(found),
                       [&](const IssuedCertificate& each) { return each.key_id == key_id; });
  return found;
}

void IssuedList::add(IssuedCertificate certificate) {
  if (find(certificate.serial) == nullptr) certificates.push_back(std::move(certificate));
}

std::string text_of(const IssuedList& list) {
  std::string text(kIssuedHead);
  for (const auto& [serial, key_id, subject] : list.certificates)
    text += fmt::format("{} {} {}\n", serial, key_id, subject);
  return text;
}

tl::expected<IssuedList, int> parse_issued_list(std::string_view text) {
  IssuedList list;
  int number_of_line = 0;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    ++number_of_line;
    if (line.empty() || line.starts_with('#')) continue;
    auto certificate = parse_issued(line);
    if (!certificate) return tl::unexpected(number_of_line);
    list.certificates.push_back(*std::move(certificate));
  }
  // The head is always there: a file that is cut to nothing is damaged.
  if (number_of_line == 0) return tl::unexpected(1);
  return list;
}

}  // namespace pgveil::proxy
