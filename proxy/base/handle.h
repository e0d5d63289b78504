// Ownership of libuv's loops and handles. libuv needs the memory of a handle until its close callback has
// run. The owner may be destroyed before that: the deleter closes the handle, and the close callback frees
// it. After uv_close(), no other callback of the handle runs.
#pragma once

#include <uv.h>

#include <memory>
#include <system_error>

namespace pgveil::proxy {

// A loop. It must be created before all of its handles, and destroyed after them. The constructor throws
// std::system_error if the system has no descriptors for it.
class Loop {
 public:
  Loop() {
    if (const int status = uv_loop_init(&loop_); status != 0)
      throw std::system_error(-status, std::generic_category(), "no loop can be made");
  }
  ~Loop() {
    uv_run(&loop_, UV_RUN_DEFAULT);  // runs the close callbacks
    uv_loop_close(&loop_);
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  [[nodiscard]] uv_loop_t* get() { return &loop_; }

 private:
  uv_loop_t loop_{};
};

struct CloseHandle {
  template <class T>
  void operator()(T* handle) const noexcept {
    uv_close(reinterpret_cast<uv_handle_t*>(handle),
             [](uv_handle_t* closed) { delete reinterpret_cast<T*>(closed); });
  }
};

// Holds a handle that uv_*_init() has initialised.
template <class T>
using Handle = std::unique_ptr<T, CloseHandle>;

// An object that libuv callbacks wake. A callback stores its event and calls wake(), nothing else.
class Wakeable {
 public:
  virtual void wake() = 0;

 protected:
  ~Wakeable() = default;
};

}  // namespace pgveil::proxy
