// The processes that this process starts, and those that it inherits as process 1 of a container. All
// functions can be called from any thread.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <optional>
#include <tl/expected.hpp>

namespace pgveil::proxy {

// The limit of open files that later children get. By default they inherit that of this process. A program
// that uses select() fails with a limit above 1024, so that the one that pgveil raises for itself must not
// reach it.
void set_descriptor_limit_of_children(const rlimit& limit);

struct ChildProgram {
  char* const* arguments;    // the first is the program, looked for in PATH; ends with nullptr
  char* const* environment;  // ends with nullptr
  int output;                // becomes its standard output
};

// Starts a program in a session and process group of its own. Its standard input is /dev/null, its standard
// error is ours, its signals have their defaults. Returns when the program runs; the error is a number of
// errno.h.
[[nodiscard]] tl::expected<pid_t, int> start_child(const ChildProgram& program);

// The status of a child that has ended, as waitpid() gives it, once: after that the child is not known any
// more. nullopt: it is still running. The process gets SIGCHLD when a child ends.
[[nodiscard]] std::optional<int> take_status_of_child(pid_t child);

// Sends SIGKILL to the process group of a child, unless the child has ended.
void kill_group_of_child(pid_t child);

// Whether processes whose parents have ended become children of this process: it is process 1, or a
// subreaper (prctl(2)).
[[nodiscard]] bool inherits_orphans();

// Reaps every child that has ended. The status of one that start_child() has started is kept for
// take_status_of_child().
void reap_children();

}  // namespace pgveil::proxy
