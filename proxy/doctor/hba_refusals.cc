#include "proxy/doctor/hba_refusals.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgveil::proxy {
namespace {

using AddressBytes = std::vector<std::uint8_t>;

// The addresses whose bits are those of `address` where `mask` has ones. PostgreSQL also takes a mask that is not a prefix.
struct Network {
  AddressBytes address, mask;  // 4 bytes each, or 16
};

constexpr std::array<int, 2> kFamilies{AF_INET, AF_INET6};

std::size_t size_in(int family) {
  return family == AF_INET ? sizeof(in_addr) : sizeof(in6_addr);
}

Network every_address(int family) {
  return {.address = AddressBytes(size_in(family)), .mask = AddressBytes(size_in(family))};
}

std::optional<AddressBytes> bytes_of(const std::string& address, int family) {
  AddressBytes bytes(size_in(family));
  if (::inet_pton(family, address.c_str(), bytes.data()) != 1) return std::nullopt;
  return bytes;
}

// nullopt: the record is not for a network of this family.
std::optional<Network> network_of(const HbaRule& rule, int family) {
  auto address = bytes_of(rule.address, family);
  auto mask = bytes_of(rule.netmask, family);
  if (!address || !mask) return std::nullopt;
  return Network{.address = *std::move(address), .mask = *std::move(mask)};
}

bool is_in(const Network& inner, const Network& outer) {
  if (inner.address.size() != outer.address.size()) return false;
  for (std::size_t i = 0; i < outer.address.size(); ++i) {
    const bool fixes_all_bits = (outer.mask[i] & ~inner.mask[i]) == 0;
    const bool has_same_bits = ((inner.address[i] ^ outer.address[i]) & outer.mask[i]) == 0;
    if (!fixes_all_bits || !has_same_bits) return false;
  }
  return true;
}

// Returns the networks that have all addresses of the record: of `all`, a host name or `samenet` those of both families.
std::vector<Network> reach_of(const HbaRule& rule) {
  for (const int family : kFamilies)
    if (auto network = network_of(rule, family)) return {*std::move(network)};
  return {every_address(AF_INET), every_address(AF_INET6)};
}

// Some of those whom a record admits.
struct Part {
  const Network& network;
  std::string_view database, user;  // words of the record, such as `all` or "+group"
};

bool has(const std::vector<std::string>& words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}

bool has_all_addresses(const HbaRule& refusing, const HbaRule& rule, const Part& part) {
  if (refusing.address == "all") return true;
  if (refusing.address == rule.address && refusing.netmask == rule.netmask) return true;
  return std::ranges::any_of(kFamilies, [&](int family) {
    const auto network = network_of(refusing, family);
    return network && is_in(part.network, *network);
  });
}

// The database `all` does not include connections for physical replication, which only the word `replication` matches.
bool has_all_databases(const HbaRule& refusing, const Part& part) {
  return has(refusing.databases, part.database) ||
         (part.database != "replication" && has(refusing.databases, "all"));
}

bool has_all_users(const HbaRule& refusing, const Part& part) {
  return has(refusing.users, part.user) || has(refusing.users, "all");
}

bool refuses_plaintext(const HbaRule& rule) {
  return rule.error.empty() && rule.method == "reject" && (rule.type == "host" || rule.type == "hostnossl");
}

}  // namespace

bool is_refused_by(std::span<const HbaRule> earlier, const HbaRule& rule) {
  const auto is_part_refused = [&](const Part& part) {
    return std::ranges::any_of(earlier, [&](const HbaRule& before) {
      return refuses_plaintext(before) && has_all_addresses(before, rule, part) &&
             has_all_databases(before, part) && has_all_users(before, part);
    });
  };
  if (rule.databases.empty() || rule.users.empty()) return false;
  for (const Network& network : reach_of(rule))
    for (const std::string& database : rule.databases)
      for (const std::string& user : rule.users)
        if (!is_part_refused({.network = network, .database = database, .user = user})) return false;
  return true;
}

}  // namespace pgveil::proxy
