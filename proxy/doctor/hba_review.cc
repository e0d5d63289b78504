#include "proxy/doctor/hba_review.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <sstream>
#include <string_view>
#include <utility>

#include "proxy/doctor/hba_refusals.h"

namespace pgveil::proxy {
namespace {

constexpr const char* kHbaStep = "pg_hba";
constexpr std::size_t kMostSteps = 10;
constexpr std::string_view kReload = "and run SELECT pg_reload_conf()";

bool is_one_of(std::string_view word, std::span<const std::string_view> words) {
  return std::ranges::find(words, word) != words.end();
}

bool is_network(const HbaRule& rule) {
  return !rule.netmask.empty();
}

// Whether only processes of the server's own machine can use the record.
bool is_of_this_machine(const HbaRule& rule) {
  constexpr std::array<std::string_view, 2> kNames{"samehost", "localhost"};
  if (rule.type == "local") return true;
  if (!is_network(rule)) return is_one_of(rule.address, kNames);
  if (rule.address.starts_with("127.")) return rule.netmask.starts_with("255.");
  return rule.address == "::1" && rule.netmask == "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
}

// "line 93", or "line 93 of /etc/.../extra.conf"
std::string place_of(const HbaRule& rule) {
  return fmt::format("line {}{}{}", rule.line, rule.file.empty() ? "" : " of ", rule.file);
}

// "in line 93 of the server's pg_hba.conf"
std::string in_file(const HbaRule& rule) {
  return fmt::format("in line {} of {}", rule.line,
                     rule.file.empty() ? "the server's pg_hba.conf" : rule.file);
}

// "line 93: host all all 10.0.0.0/255.0.0.0 md5"
std::string text_of(const HbaRule& rule) {
  const std::string address =
      rule.address + (rule.netmask.empty() || rule.address.empty() ? "" : '/' + rule.netmask);
  return fmt::format("{}: {} {} {}{}{} {}", place_of(rule), rule.type, fmt::join(rule.databases, ","),
                     fmt::join(rule.users, ","), address.empty() ? "" : " ", address, rule.method);
}

Step note(const HbaRule& rule, std::string_view what) {
  return {.name = kHbaStep, .text = fmt::format("{}: {}", text_of(rule), what)};
}

// A word of a record that makes it unsafe.
struct Weakness {
  std::string_view word;
  std::string_view field;        // of the record that has the word
  std::string_view what;         // the record does, for everybody
  std::string_view what_here;    // the record does, if it is for the server's own machine only
  std::string_view consequence;  // of the word: the end of the sentence about the cause
  std::string_view replacement;  // for the word
};

// A record for the server's own machine only is not a fault: nobody reads the traffic of a loopback interface.
Step weakness_step(const HbaRule& rule, const Weakness& weakness) {
  if (is_of_this_machine(rule)) return note(rule, weakness.what_here);
  return failed_step(kHbaStep, fmt::format("{}: {}", text_of(rule), weakness.what),
                     {.side = Side::server,
                      .cause = fmt::format("The record {} has the {} {}, so {}.", in_file(rule),
                                           weakness.field, weakness.word, weakness.consequence),
                      .remedy = fmt::format("Change {} to {} {}, {}.", weakness.word, weakness.replacement,
                                            in_file(rule), kReload)});
}

Weakness weakness_of_plaintext(const HbaRule& rule) {
  return {.word = rule.type,
          .field = "type",
          .what = "admits logins without TLS",
          .what_here = "admits logins without TLS from the server's own machine",
          .consequence = "it admits logins without TLS",
          .replacement = "hostssl"};
}

constexpr Weakness kTrustMethod{
    .word = "trust",
    .field = "method",
    .what = "admits everybody without a password",
    .what_here = "admits everybody on the server's own machine without a password",
    .consequence = "it admits everybody without a password",
    .replacement = "scram-sha-256 or cert"};
// Of each client the server verifies the chain, but it does not compare the name in the certificate with the user.
constexpr std::string_view kVerifyCa = "clientcert=verify-ca";
constexpr Weakness kTrustInEachCertificate{
    .word = kVerifyCa,
    .field = "option",
    .what = "lets everybody who has a certificate of the CA log in as any user",
    .what_here =
        "lets everybody on the server's own machine who has a certificate of the CA log in as any user",
    .consequence = "everybody who has a certificate of the CA can log in as any user",
    .replacement = "clientcert=verify-full"};
constexpr Weakness kPasswordMethod{.word = "password",
                                   .field = "method",
                                   .what = "asks for the password itself",
                                   .what_here = "asks for the password itself, so that the server learns it",
                                   .consequence = "the server learns the passwords",
                                   .replacement = "scram-sha-256"};

bool has_option(const HbaRule& rule, std::string_view option) {
  return std::ranges::find(rule.options, option) != rule.options.end();
}

// nullopt: the record does not have the method trust, or it admits only who has a certificate for the user.
std::optional<Weakness> weakness_of_trust(const HbaRule& rule) {
  if (rule.method != "trust" || has_option(rule, "clientcert=verify-full")) return std::nullopt;
  return has_option(rule, kVerifyCa) ? kTrustInEachCertificate : kTrustMethod;
}

void review(const HbaRule& rule, HbaRefusals& earlier, std::vector<Step>& steps) {
  constexpr std::array<std::string_view, 4> kLearnsPassword{"ldap", "pam", "radius", "bsd"};
  if (!rule.error.empty()) {
    steps.push_back(failed_step(
        kHbaStep, fmt::format("{}: {}", place_of(rule), rule.error),
        {.side = Side::server,
         .cause = fmt::format("The server cannot use the record {}: {}.", in_file(rule), rule.error),
         .remedy = fmt::format("Correct the record {}, {}.", in_file(rule), kReload)}));
    return;
  }
  if (rule.method == "reject") return;
  const bool admits_plaintext = earlier.leave_logins(rule, HbaChannel::plaintext);
  const bool is_in_use = rule.type == "local" || admits_plaintext ||
                         earlier.leave_logins(rule, HbaChannel::tls) ||
                         earlier.leave_logins(rule, HbaChannel::gssapi);
  if (!is_in_use) return;
  if (admits_plaintext) steps.push_back(weakness_step(rule, weakness_of_plaintext(rule)));
  if (const auto weakness = weakness_of_trust(rule)) steps.push_back(weakness_step(rule, *weakness));
  if (rule.method == "password") steps.push_back(weakness_step(rule, kPasswordMethod));
  if (is_one_of(rule.method, kLearnsPassword)) steps.push_back(note(rule, kPasswordMethod.what_here));
  if (rule.method == "md5")
    steps.push_back(note(rule, "takes MD5 hashes of users whose stored password is one; use scram-sha-256"));
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(std::move(line));
  return lines;
}

}  // namespace

std::string hba_query(int major_version) {
  // Includes and their rule numbers came with PostgreSQL 16. Names are qualified, so that a function of another user is not run.
  // A name can have a comma, but not the end of a line.
  constexpr int kHasFileNames = 16;
  const bool has_files = major_version >= kHasFileNames;
  return fmt::format(
      "SELECT line_number, type, pg_catalog.array_to_string(database, E'\\n'), "
      "pg_catalog.array_to_string(user_name, E'\\n'), address, netmask, auth_method, "
      "pg_catalog.array_to_string(options, E'\\n'), error, {} FROM pg_catalog.pg_hba_file_rules ORDER BY {}",
      has_files ? "file_name" : "NULL", has_files ? "rule_number NULLS LAST" : "line_number");
}

HbaRule hba_rule(const protocol::Row& row) {
  const auto text = [&](std::size_t i) { return i < row.size() ? row[i].value_or("") : std::string(); };
  enum : std::size_t { line, type, database, user, address, netmask, method, options, error, file };
  return {.line = text(line),
          .file = text(file),
          .type = text(type),
          .databases = lines_of(text(database)),
          .users = lines_of(text(user)),
          .address = text(address),
          .netmask = text(netmask),
          .method = text(method),
          .options = lines_of(text(options)),
          .error = text(error)};
}

std::vector<Step> review_hba(const std::vector<HbaRule>& rules) {
  std::vector<Step> steps;
  HbaRefusals refusals;
  for (const HbaRule& rule : rules) {
    review(rule, refusals, steps);
    refusals.add(rule);
  }
  // Faults first, so that the limit leaves out the least important.
  std::ranges::stable_sort(steps, {}, [](const Step& step) { return step.outcome != Outcome::failed; });
  if (steps.size() > kMostSteps) {
    const std::size_t more = steps.size() - kMostSteps;
    steps.resize(kMostSteps);
    steps.push_back(
        {.name = kHbaStep, .text = fmt::format("{} more (SELECT * FROM pg_hba_file_rules)", more)});
  }
  const bool has_fault =
      std::ranges::any_of(steps, [](const Step& s) { return s.outcome == Outcome::failed; });
  if (!has_fault)
    steps.insert(
        steps.begin(),
        {.name = kHbaStep,
         .outcome = Outcome::passed,
         .text = fmt::format("{} record{}; none admits a login of another machine without TLS, without a "
                             "password, or with the password itself (method password)",
                             rules.size(), rules.size() == 1 ? "" : "s")});
  return steps;
}

}  // namespace pgveil::proxy
