#include "proxy/doctor/hba_review.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <utility>

namespace pgveil::proxy {
namespace {

constexpr const char* kHbaStep = "pg_hba";
constexpr std::size_t kMostSteps = 10;
constexpr std::string_view kReload = "and run SELECT pg_reload_conf()";

bool is_one_of(std::string_view word, std::span<const std::string_view> words) {
  return std::ranges::find(words, word) != words.end();
}

bool is_of_this_machine(const HbaRule& rule) {
  constexpr std::array<std::string_view, 3> kNames{"samehost", "localhost", "::1"};
  return rule.address.starts_with("127.") || is_one_of(rule.address, kNames);
}

bool is_for_plaintext(const HbaRule& rule) {
  return rule.type == "host" || rule.type == "hostnossl";
}

// Whether everybody at the address of `other` whom it admits without TLS is refused by `rule`, which precedes it.
bool refuses_all_of(const HbaRule& rule, const HbaRule& other) {
  const bool is_ipv6 = other.address.find(':') != std::string::npos;
  const bool is_everywhere = rule.address == "all" || rule.netmask == (is_ipv6 ? "::" : "0.0.0.0");
  const bool is_same = rule.address == other.address && rule.netmask == other.netmask;
  return is_for_plaintext(rule) && rule.method == "reject" && rule.databases == "all" &&
         rule.users == "all" && (is_everywhere || is_same);
}

// "host all all 10.0.0.0/255.0.0.0 md5"
std::string text_of(const HbaRule& rule) {
  const std::string address =
      rule.address + (rule.netmask.empty() || rule.address.empty() ? "" : '/' + rule.netmask);
  return fmt::format("{}: {} {} {}{}{} {}", rule.place, rule.type, rule.databases, rule.users,
                     address.empty() ? "" : " ", address, rule.method);
}

Step note(const HbaRule& rule, std::string_view what) {
  return {.name = kHbaStep, .text = fmt::format("{}: {}", text_of(rule), what)};
}

Step fault(const HbaRule& rule, std::string_view what, std::string cause, std::string remedy) {
  Step step = note(rule, what);
  step.outcome = Outcome::failed;
  step.finding = Finding{.side = Side::server, .cause = std::move(cause), .remedy = std::move(remedy)};
  return step;
}

std::string in_file(const HbaRule& rule) {
  return fmt::format("in {} of the server's pg_hba.conf", rule.place);
}

// A record for addresses of this machine only is not a fault: nobody reads the traffic of a loopback interface.
void review_plaintext(const HbaRule& rule, std::vector<Step>& steps) {
  constexpr std::string_view kWhat = "admits logins without TLS";
  if (is_of_this_machine(rule)) {
    steps.push_back(note(rule, "admits logins without TLS from the server's own machine"));
    return;
  }
  steps.push_back(fault(rule, kWhat,
                        fmt::format("The record {} has the type {}, so it admits logins without TLS.",
                                    in_file(rule), rule.type),
                        fmt::format("Change {} to hostssl {}, {}.", rule.type, in_file(rule), kReload)));
}

bool requires_certificate(const HbaRule& rule) {
  return rule.options.find("clientcert=verify-") != std::string::npos;
}

void review_trust(const HbaRule& rule, std::vector<Step>& steps) {
  constexpr std::string_view kWhat = "admits everybody without a password";
  if (requires_certificate(rule)) return;
  if (is_of_this_machine(rule) || rule.type == "local") {
    steps.push_back(note(rule, "admits everybody on the server's own machine without a password"));
    return;
  }
  steps.push_back(
      fault(rule, kWhat,
            fmt::format("The record {} has the method trust, so it admits everybody without a password.",
                        in_file(rule)),
            fmt::format("Change trust to scram-sha-256 or cert {}, {}.", in_file(rule), kReload)));
}

void review_cleartext(const HbaRule& rule, std::vector<Step>& steps) {
  constexpr std::string_view kWhat = "asks for the password itself";
  if (rule.method != "password" || is_of_this_machine(rule) || rule.type == "local") {
    steps.push_back(note(rule, "asks for the password itself, so that the server learns it"));
    return;
  }
  steps.push_back(
      fault(rule, kWhat,
            fmt::format("The record {} has the method password, so the server learns the passwords.",
                        in_file(rule)),
            fmt::format("Change password to scram-sha-256 {}, {}.", in_file(rule), kReload)));
}

void review(const HbaRule& rule, bool is_refused, std::vector<Step>& steps) {
  constexpr std::array<std::string_view, 5> kCleartext{"password", "ldap", "pam", "radius", "bsd"};
  if (!rule.error.empty()) {
    steps.push_back(
        {.name = kHbaStep,
         .outcome = Outcome::failed,
         .text = fmt::format("{}: {}", rule.place, rule.error),
         .finding = Finding{
             .side = Side::server,
             .cause = fmt::format("The server cannot use the record {}: {}.", in_file(rule), rule.error),
             .remedy = fmt::format("Correct the record {}, {}.", in_file(rule), kReload)}});
    return;
  }
  if (rule.method == "reject") return;
  if (is_for_plaintext(rule) && !is_refused) review_plaintext(rule, steps);
  if (rule.method == "trust") review_trust(rule, steps);
  if (is_one_of(rule.method, kCleartext)) review_cleartext(rule, steps);
  if (rule.method == "md5")
    steps.push_back(note(rule, "takes MD5 hashes of users whose stored password is one; use scram-sha-256"));
}

}  // namespace

std::string hba_query(int major_version) {
  // Includes and their rule numbers came with PostgreSQL 16. Names are qualified, so that a function of another user is not run.
  constexpr int kHasFileNames = 16;
  const bool has_files = major_version >= kHasFileNames;
  return fmt::format(
      "SELECT line_number, type, pg_catalog.array_to_string(database, ','), "
      "pg_catalog.array_to_string(user_name, ','), address, netmask, auth_method, "
      "pg_catalog.array_to_string(options, ','), error, {} FROM pg_catalog.pg_hba_file_rules ORDER BY {}",
      has_files ? "file_name" : "NULL", has_files ? "rule_number NULLS LAST" : "line_number");
}

HbaRule hba_rule(const protocol::Row& row) {
  const auto text = [&](std::size_t i) { return i < row.size() ? row[i].value_or("") : std::string(); };
  enum : std::size_t { line, type, database, user, address, netmask, method, options, error, file };
  const std::string name = text(file);
  return {.place = fmt::format("line {}{}", text(line), name.empty() ? "" : " of " + name),
          .type = text(type),
          .databases = text(database),
          .users = text(user),
          .address = text(address),
          .netmask = text(netmask),
          .method = text(method),
          .options = text(options),
          .error = text(error)};
}

std::vector<Step> review_hba(const std::vector<HbaRule>& rules) {
  std::vector<Step> steps;
  for (auto rule = rules.begin(); rule != rules.end(); ++rule) {
    const bool is_refused = std::any_of(rules.begin(), rule,
                                        [&](const HbaRule& before) { return refuses_all_of(before, *rule); });
    review(*rule, is_refused, steps);
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
         .text = fmt::format("{} records; none admits a login of another machine without TLS, without a "
                             "password, or with the password itself (method password)",
                             rules.size())});
  return steps;
}

}  // namespace pgveil::proxy
