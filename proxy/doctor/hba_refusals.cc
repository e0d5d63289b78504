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

// The addresses whose bits are those of `address` where `mask` has ones. PostgreSQL also takes a mask that is not a prefix.
struct HbaNetwork {
  std::vector<std::uint8_t> address, mask;  // 4 bytes each, or 16
};

struct HbaRefusals::Refusal {
  HbaRule rule;
  std::vector<HbaNetwork> networks;  // one, or those of both families
};

namespace {

using AddressBytes = std::vector<std::uint8_t>;

constexpr std::array<int, 2> kFamilies{AF_INET, AF_INET6};

std::size_t size_in(int family) {
  return family == AF_INET ? sizeof(in_addr) : sizeof(in6_addr);
}

HbaNetwork every_address(int family) {
  return {.address = AddressBytes(size_in(family)), .mask = AddressBytes(size_in(family))};
}

std::optional<AddressBytes> bytes_of(const std::string& address, int family) {
  AddressBytes bytes(size_in(family));
  if (::inet_pton(family, address.c_str(), bytes.data()) != 1) return std::nullopt;
  return bytes;
}

// nullopt: the record is not for a network of this family.
std::optional<HbaNetwork> network_of(const HbaRule& rule, int family) {
  auto address = bytes_of(rule.address, family);
  auto mask = bytes_of(rule.netmask, family);
  if (!address || !mask) return std::nullopt;
  return HbaNetwork{.address = *std::move(address), .mask = *std::move(mask)};
}

bool is_in(const HbaNetwork& inner, const HbaNetwork& outer) {
  if (inner.address.size() != outer.address.size()) return false;
  for (std::size_t i = 0; i < outer.address.size(); ++i) {
    const bool fixes_all_bits = (outer.mask[i] & ~inner.mask[i]) == 0;
    const bool has_same_bits = ((inner.address[i] ^ outer.address[i]) & outer.mask[i]) == 0;
    if (!fixes_all_bits || !has_same_bits) return false;
  }
  return true;
}

// Returns the networks that have all addresses of the record: of `all`, a host name or `samenet` those of both families.
std::vector<HbaNetwork> networks_of(const HbaRule& rule) {
  for (const int family : kFamilies)
    if (auto network = network_of(rule, family)) return {*std::move(network)};
  return {every_address(AF_INET), every_address(AF_INET6)};
}

bool has(const std::vector<std::string>& words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}

// The database `all` does not include connections for physical replication, which only the word `replication` matches.
bool has_all_of_database(const HbaRule& refusing, std::string_view database) {
  return has(refusing.databases, database) || (database != "replication" && has(refusing.databases, "all"));
}

bool has_all_of_user(const HbaRule& refusing, std::string_view user) {
  return has(refusing.users, user) || has(refusing.users, "all");
}

bool has_all_addresses(const HbaRefusals::Refusal& refusal, const HbaRule& later, const HbaNetwork& network) {
  if (refusal.rule.address == "all") return true;
  if (refusal.rule.address == later.address && refusal.rule.netmask == later.netmask) return true;
  return refusal.networks.size() == 1 && is_in(network, refusal.networks.front());
}

// PostgreSQL: hba.c, check_hba().
bool takes(std::string_view type, HbaChannel channel) {
  if (type == "host") return true;
  if (type == "hostssl") return channel == HbaChannel::tls;
  if (type == "hostnossl") return channel != HbaChannel::tls;
  if (type == "hostgssenc") return channel == HbaChannel::gssapi;
  if (type == "hostnogssenc") return channel != HbaChannel::gssapi;
  return false;
}

}  // namespace

HbaRefusals::HbaRefusals() = default;
HbaRefusals::~HbaRefusals() = default;

void HbaRefusals::add(const HbaRule& rule) {
  if (rule.error.empty() && rule.method == "reject")
    refusals_.push_back({.rule = rule, .networks = networks_of(rule)});
}

bool HbaRefusals::leave_logins(const HbaRule& rule, HbaChannel channel) {
  if (!takes(rule.type, channel)) return false;
  if (refusals_.empty() || rule.databases.empty() || rule.users.empty()) return true;
  for (const HbaNetwork& network : networks_of(rule))
    for (const std::string& database : rule.databases)
      for (const std::string& user : rule.users) {
        if (comparisons_left_ < refusals_.size()) return true;
        comparisons_left_ -= refusals_.size();
        const bool is_refused = std::ranges::any_of(refusals_, [&](const Refusal& refusal) {
          return takes(refusal.rule.type, channel) && has_all_addresses(refusal, rule, network) &&
                 has_all_of_database(refusal.rule, database) && has_all_of_user(refusal.rule, user);
        });
        if (!is_refused) return true;
      }
  return false;
}

}  // namespace pgveil::proxy
