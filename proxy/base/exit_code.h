// The exit codes of the process, after sysexits.h. They are documented in docs/configuration.md.
#pragma once

namespace pgveil::proxy {

inline constexpr int kExitOk = 0;
inline constexpr int kExitUsage = 64;         // EX_USAGE: the command line is not valid
inline constexpr int kExitNoInput = 66;       // EX_NOINPUT: a file that is needed cannot be read or used
inline constexpr int kExitUnavailable = 69;   // EX_UNAVAILABLE: no listener, no worker, or no io_uring
inline constexpr int kExitSoftware = 70;      // EX_SOFTWARE: a defect of pgveil
inline constexpr int kExitCannotCreate = 73;  // EX_CANTCREAT: a new file cannot be written, or exists already
inline constexpr int kExitConfig = 78;        // EX_CONFIG: errors in settings: file, option or variable

}  // namespace pgveil::proxy
