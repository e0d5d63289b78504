// What OpenSSL leaves in memory that it frees.
#pragma once

namespace pgveil::tls {

// Lets OpenSSL wipe every block of 1 KiB or more that it frees, for the whole process. Smaller ones it wipes
// itself where they hold secrets; but a connection, with the traffic secrets of its handshake, it does not.
// To be called before anything else of OpenSSL's; false where it is too late.
[[nodiscard]] bool wipe_what_openssl_frees();

}  // namespace pgveil::tls
