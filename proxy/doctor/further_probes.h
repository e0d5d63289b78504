// Further questions to a server, each on a connection of its own: what it is, GSSENCRequest, direct TLS, versions and ciphers.
#pragma once

#include "protocol/bytes.h"
#include "proxy/config/config.h"
#include "proxy/doctor/server_survey.h"

namespace pgveil::proxy {

// Adds the answers to a survey that has connected. `first_bytes` are sent at the beginning of each connection. No user is named
// and no secret is sent.
void add_further_probes(const UpstreamConfig& upstream, const protocol::Bytes& first_bytes,
                        ServerSurvey& survey);

}  // namespace pgveil::proxy
