// The connection between OpenSSL and the caller's buffers: a BIO that reads ciphertext from the front of the
// caller's input and appends ciphertext to the caller's output. This header is internal to tls/.
#pragma once

#include "tls/buffers.h"
#include "tls/internal/openssl.h"

namespace pgveil::tls {

// The caller's buffers during a call of the engine.
struct CallerBytes {
  ByteView* incoming = nullptr;
  Outgoing* outgoing = nullptr;
  bool end_of_input = false;  // no more bytes will follow `incoming`
};

// Returns a BIO that uses `bytes`, which must outlive it.
[[nodiscard]] BIO* make_bio(CallerBytes& bytes);

}  // namespace pgveil::tls
