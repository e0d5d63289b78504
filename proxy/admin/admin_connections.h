// The server of the admin database: its connections, which sessions make (AdminDatabase), in the loop of the admin thread.
#pragma once

#include <uv.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "protocol/bytes.h"
#include "proxy/admin/admin_queries.h"
#include "proxy/admin/admin_statements.h"
#include "proxy/base/descriptor.h"
#include "proxy/base/handle.h"
#include "proxy/session/admin_database.h"

namespace pgveil::proxy {

class AdminConnections {
 public:
  // The loop and `database` must outlive the object. Serves from here on until the destructor. Throws std::bad_alloc.
  AdminConnections(uv_loop_t* loop, AdminDatabase& database, AdminStatements::Process process);
  ~AdminConnections();
  AdminConnections(const AdminConnections&) = delete;
  AdminConnections& operator=(const AdminConnections&) = delete;

 private:
  class Connection;

  void take_new();
  void serve(Descriptor socket);
  void close(std::uint64_t number);

  uv_loop_t* loop_;
  AdminDatabase& database_;
  const AdminStatements statements_;
  std::mutex mutex_;
  std::vector<Descriptor> new_;  // guarded by mutex_
  Handle<uv_async_t> arrival_;
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::uint64_t last_number_ = 0;
};

}  // namespace pgveil::proxy
