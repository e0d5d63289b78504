// Keeps the signals of the process with the main thread.
#pragma once

#include <pthread.h>

#include <csignal>

namespace pgveil::proxy {

// While it lives, threads are made that take no signals: a new thread has the signal mask of the one that
// makes it. In the thread of a worker a signal would cost a session time.
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
