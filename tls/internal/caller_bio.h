// OpenSSL's way to the caller's buffers: a BIO that takes ciphertext from the front of what the caller has
// read, and appends ciphertext to what the caller will send. For the .cc files of this layer only.
#pragma once

#include "tls/buffers.h"
#include "tls/internal/openssl.h"

namespace pgveil::tls {

// The caller's, for as long as a call of the engine runs.
struct CallerBytes {
  ByteView* incoming = nullptr;
  Outgoing* outgoing = nullptr;
  bool end_of_input = false;  // after `incoming` comes the end, and not "more is needed"
};

// `bytes` must outlive it.
[[nodiscard]] BIO* make_bio(CallerBytes& bytes);

}  // namespace pgveil::tls
