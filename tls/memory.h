// Wiping of the memory that OpenSSL frees.
#pragma once

namespace pgveil::tls {

// Makes OpenSSL wipe every block of 1 KiB or more that it frees, in the whole process. OpenSSL itself wipes
// smaller blocks that hold secrets, but not the object of a connection, which holds the traffic secrets of
// its handshake. Must be called before any other function of OpenSSL; returns false if it is too late.
[[nodiscard]] bool wipe_what_openssl_frees();

}  // namespace pgveil::tls
