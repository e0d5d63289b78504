// The names of settings in messages, in the form in which the user gave them.
#pragma once

#include "proxy/config/config_error.h"

namespace pgveil::proxy {

// In the text of errors in options and variables: replaces the keys of the configuration file, such as
// ssl_key_file, by the option (--ssl-key-file) or the variable (PGVEIL_SSL_KEY_FILE). What is in double quotes, and
// keys that are also words of English or names of startup parameters, stay as they are.
void name_as_given(ConfigErrors& errors);

}  // namespace pgveil::proxy
