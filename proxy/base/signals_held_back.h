// Threads that do not handle the signals of the process, so that the main thread handles them.
#pragma once

#include <pthread.h>

#include <csignal>
#include <initializer_list>

namespace pgveil::proxy {

// Blocks signals in the calling thread while the object exists. A thread that is created meanwhile inherits
// this signal mask and handles no signals. In the thread of a worker, a signal would delay a session.
class SignalsHeldBack {
 public:
  SignalsHeldBack() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, number);
    ::pthread_sigmask(SIG_BLOCK, &signals, &before_);
  }
  ~SignalsHeldBack() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsHeldBack(const SignalsHeldBack&) = delete;
  SignalsHeldBack& operator=(const SignalsHeldBack&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace pgveil::proxy
