// Reads the configuration file, in TOML.
#pragma once

#include <string>

#include "proxy/config/config_builder.h"

namespace pgveil::proxy {

// Reads a TOML file into `builder`, which reports what is wrong with it. Wipes secrets in `toml`.
void read_toml(std::string& toml, const std::string& file, ConfigBuilder& builder);

}  // namespace pgveil::proxy
