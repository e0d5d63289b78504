// The messages that a client sends after its StartupMessage, as far as pgveil sends or reads them itself.
#pragma once

#include "protocol/bytes.h"

namespace pgveil::protocol {

inline constexpr char kTerminate = 'X';

void encode_terminate(Bytes& out);

}  // namespace pgveil::protocol
