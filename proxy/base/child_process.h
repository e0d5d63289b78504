// The child processes that this process starts, and those that it inherits as process 1 of a container. All functions
// may be called from any thread.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <optional>
#include <tl/expected.hpp>

namespace pgveil::proxy {

// Sets the limit of open files for later children. By default they inherit the limit of this process. A program that
// uses select() can fail with a limit above 1024, so it must not inherit the limit that pgveil raises for itself.
void set_descriptor_limit_of_children(const rlimit& limit);

struct ChildProgram {
  char* const* arguments;    // the first one is the program, searched in PATH; ends with nullptr
  char* const* environment;  // ends with nullptr
  int output;                // becomes its standard output
};

// Starts a program in a new session and process group. Its standard input is /dev/null, its standard error is that of
// this process, and its signals have their default handlers. Returns when the program runs. The error is a number of
// errno.h.
[[nodiscard]] tl::expected<pid_t, int> start_child(const ChildProgram& program);

// Returns the status of a child that has ended, as from waitpid(), and forgets the child: the status can be
// taken once. nullopt: the child is still running. The process receives SIGCHLD when a child ends.
[[nodiscard]] std::optional<int> take_status_of_child(pid_t child);

// Sends SIGKILL to the process group of a child, unless the child has ended.
void kill_group_of_child(pid_t child);

// Returns whether processes whose parents have ended become children of this process: it is process 1, or a subreaper
// (prctl(2)).
[[nodiscard]] bool inherits_orphans();

// Reaps every child that has ended. The status of a child of start_child() is kept for take_status_of_child().
void reap_children();

}  // namespace pgveil::proxy
