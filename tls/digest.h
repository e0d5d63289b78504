// Random bytes and wiping of secrets. (Hashes for SCRAM will stand here too.)
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace pgveil::tls {

void fill_random(std::span<std::uint8_t> bytes);
// Overwrites in a way that the compiler keeps (OPENSSL_cleanse), then empties.
void wipe(std::string& secret);
void wipe(std::span<std::uint8_t> secret);

}  // namespace pgveil::tls
