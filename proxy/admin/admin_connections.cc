#include "proxy/admin/admin_connections.h"

#include <sys/socket.h>

#include <array>
#include <exception>
#include <new>
#include <utility>

#include "proxy/admin/must_wait.h"

namespace pgveil::proxy {
namespace {

constexpr std::size_t kReadSize = 4096;

}  // namespace

// Reads the next message only after the answer to the last one is written, so that its memory is limited.
class AdminConnections::Connection {
 public:
  Connection(AdminConnections& owner, std::uint64_t number, Descriptor socket)
      : owner_(owner), number_(number), socket_(std::move(socket)), queries_(owner.statements_) {
    auto poll = std::make_unique<uv_poll_t>();
    if (uv_poll_init(owner.loop_, poll.get(), socket_.get()) != 0) throw std::bad_alloc();
    poll->data = this;
    poll_.reset(poll.release());
    watch();
  }

 private:
  // One message in each turn of the loop, so that no client delays the others.
  void advance() {
    bool is_open = false;
    try {
      is_open = answer();
    } catch (const std::exception&) {
      // Without memory for the answer, the connection is closed.
    }
    if (!is_open) return owner_.close(number_);  // destroys this object
    watch();
  }

  // Returns false at the end of the connection.
  bool answer() {
    if (written_ < out_.size() || has_ended_) return write();
    if (!has_message_ && !read()) return false;
    protocol::ByteReader in(in_);
    const auto progress = queries_.take(in, out_);
    in_.erase(in_.begin(), in_.end() - static_cast<std::ptrdiff_t>(in.remaining()));
    has_ended_ = progress == AdminQueries::Progress::ended;
    has_message_ =
        progress == AdminQueries::Progress::answered && (!in_.empty() || queries_.has_statements());
    return write();
  }

  bool read() {
    std::array<std::uint8_t, kReadSize>
        bytes;  // NOLINT(cppcoreguidelines-pro-type-member-init): recv() fills it
    const ssize_t size = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
    if (must_wait(size)) return true;
    if (size <= 0) return false;
    in_.insert(in_.end(), bytes.begin(), bytes.begin() + size);
    return true;
  }

  bool write() {
    if (written_ < out_.size()) {
      const ssize_t size =
          ::send(socket_.get(), out_.data() + written_, out_.size() - written_, MSG_NOSIGNAL);
      if (size < 0 && !must_wait(size)) return false;
      if (size > 0) written_ += static_cast<std::size_t>(size);
    }
    if (written_ == out_.size()) {
      protocol::Bytes().swap(out_);
      written_ = 0;
    }
    return !has_ended_ || !out_.empty();
  }

  // A message that has arrived already is answered in the next turn: the socket is writable then.
  void watch() {
    const int events = !out_.empty() || has_message_ ? UV_WRITABLE : UV_READABLE;
    uv_poll_start(poll_.get(), events, [](uv_poll_t* poll, int /*status*/, int /*events*/) {
      static_cast<Connection*>(poll->data)->advance();
    });
  }

  AdminConnections& owner_;
  const std::uint64_t number_;
  Descriptor socket_;
  Handle<uv_poll_t> poll_;
  AdminQueries queries_;
  protocol::Bytes in_;
  bool has_message_ = false;  // in_ may hold a whole message, or queries_ has statements
  bool has_ended_ = false;    // out_ has the last message
  protocol::Bytes out_;
  std::size_t written_ = 0;  // of out_
};

AdminConnections::AdminConnections(uv_loop_t* loop, AdminDatabase& database, AdminStatements::Process process)
    : loop_(loop), database_(database), statements_(std::move(process)), arrival_(new uv_async_t) {
  uv_async_init(loop, arrival_.get(),
                [](uv_async_t* arrival) { static_cast<AdminConnections*>(arrival->data)->take_new(); });
  arrival_->data = this;
  database_.serve([this](Descriptor socket) {
    {
      const std::lock_guard lock(mutex_);
      new_.push_back(std::move(socket));
    }
    uv_async_send(arrival_.get());
  });
}

AdminConnections::~AdminConnections() {
  database_.stop();
}

void AdminConnections::take_new() {
  std::vector<Descriptor> sockets;
  {
    const std::lock_guard lock(mutex_);
    sockets.swap(new_);
  }
  for (Descriptor& socket : sockets) serve(std::move(socket));
}

// Without memory, the session sees that its server closes the connection.
void AdminConnections::serve(Descriptor socket) {
  try {
    const std::uint64_t number = ++last_number_;
    connections_.emplace(number, std::make_unique<Connection>(*this, number, std::move(socket)));
  } catch (const std::exception&) {
    return;
  }
}

void AdminConnections::close(std::uint64_t number) {
  connections_.erase(number);
}

}  // namespace pgveil::proxy
