#include "proxy/commands/revoked_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <ctime>
#include <sstream>

namespace pgveil::proxy {
namespace {

constexpr std::string_view kRevokedHead =
    "# Certificates that this authority has revoked, and the number of its last CRL. Written by \"pgveil certs\".\n";
constexpr std::string_view kNumberKey = "crl_number ";

// "2026-11-30T20:31:40Z"
constexpr const char* kTimeFormat = "%Y-%m-%dT%H:%M:%SZ";

std::string time_text(std::int64_t seconds) {
  constexpr std::size_t kMaxBytes = 64;
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  std::string text(kMaxBytes, '\0');
  text.resize(std::strftime(text.data(), text.size(), kTimeFormat, &parts));
  return text;
}

std::optional<std::int64_t> parse_time(const std::string& text) {
  std::tm parts{};
  const char* end = ::strptime(text.c_str(), kTimeFormat, &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return ::timegm(&parts);
}

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

// "SERIAL TIME SUBJECT"
std::optional<RevokedCertificate> parse_revoked(const std::string& line) {
  const auto first = line.find(' ');
  const auto second = first == std::string::npos ? first : line.find(' ', first + 1);
  if (second == std::string::npos) return std::nullopt;
  const auto time = parse_time(line.substr(first + 1, second - first - 1));
  RevokedCertificate certificate{line.substr(0, first), time.value_or(0), line.substr(second + 1)};
  if (!time || !is_serial(certificate.serial)) return std::nullopt;
  return certificate;
}

}  // namespace

bool is_serial(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

const RevokedCertificate* RevokedList::find(std::string_view serial) const {
  const auto found = std::ranges::find(certificates, serial, &RevokedCertificate::serial);
  return found == certificates.end() ? nullptr : &*found;
}

std::string text_of(const RevokedList& list) {
  std::string text = fmt::format("{}{}{}\n", kRevokedHead, kNumberKey, list.crl_number);
  for (const auto& [serial, time, subject] : list.certificates)
    text += fmt::format("{} {} {}\n", serial, time_text(time), subject);
  return text;
}

tl::expected<RevokedList, int> parse_revoked_list(std::string_view text) {
  RevokedList list;
  bool has_number = false;
  int number_of_line = 0;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    ++number_of_line;
    if (line.empty() || line.starts_with('#')) continue;
    if (!has_number) {
      const bool is_number = line.starts_with(kNumberKey);
      const auto number =
          parse_number(std::string_view(line).substr(is_number ? kNumberKey.size() : line.size()));
      if (!number) return tl::unexpected(number_of_line);
      list.crl_number = *number;
      has_number = true;
      continue;
    }
    auto certificate = parse_revoked(line);
    if (!certificate) return tl::unexpected(number_of_line);
    list.certificates.push_back(*std::move(certificate));
  }
  if (!has_number) return tl::unexpected(number_of_line + 1);
  return list;
}

}  // namespace pgveil::proxy
