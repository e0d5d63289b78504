// The examination of one server, from its name to the verdict.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "proxy/doctor/login_survey.h"
#include "proxy/doctor/report.h"
#include "proxy/snapshot/snapshot.h"

namespace pgveil::proxy {

// Examines the only host of `upstream`. The report has no `server` yet. `login` is begun with and without TLS if it has a user,
// and if the server is verified; it is completed if its password is known, or if the server asks for none. `sslmodes`: those of
// libpq to forecast, unless `upstream` is reached without TLS; if there are any, a login without TLS is begun even if the server
// is not verified. `now` is in seconds since 1970.
[[nodiscard]] ServerReport examine(const std::shared_ptr<const Upstream>& upstream, const LoginRequest& login,
                                   const std::vector<std::string>& sslmodes, std::int64_t now);

}  // namespace pgveil::proxy
