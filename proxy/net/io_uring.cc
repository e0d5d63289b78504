#include "proxy/net/io_uring.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace pgveil::proxy {
namespace {

constexpr unsigned kRequests = 256;  // if a turn has more, they are submitted in parts
constexpr unsigned kAnswers = 4096;
// The maximum number of sends in one turn. A failed send makes a completion. The completion queue has room for all of
// them, so each is in the queue when the submission returns.
constexpr std::size_t kMaxSends = 1024;
constexpr std::uint16_t kBuffers = 64;  // a power of two; when all are in use, the streams call recv()
constexpr std::uint16_t kBufferGroup = 0;
constexpr std::size_t kOutgoingBytes = std::size_t{1} << 20U;

// A send has succeeded or failed when its submission returns: it never waits in the kernel. It makes a completion
// only if the kernel did not accept all bytes, so that a turn needs one system call to submit and to wait.
constexpr int kSendFlags = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL;

constexpr unsigned kKindBits = 3;

std::string failure(const char* call, int error) {
  return std::string(call) + ": " + std::strerror(error);
}

struct Sockets {
  Sockets() = default;
  ~Sockets() {
    for (const int end : ends)
      if (end >= 0) ::close(end);
  }
  Sockets(const Sockets&) = delete;
  Sockets& operator=(const Sockets&) = delete;

  std::array<int, 2> ends{-1, -1};
};

void prepare_send(io_uring_sqe* request, int descriptor, ByteView bytes) {
  io_uring_prep_send(request, descriptor, bytes.data(), bytes.size(), kSendFlags);
  request->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

void prepare_receive(io_uring_sqe* request, int descriptor, bool drained) {
  io_uring_prep_recv(request, descriptor, nullptr, Ring::kMaxBytes, 0);
  request->flags |= IOSQE_BUFFER_SELECT;
  request->buf_group = kBufferGroup;
  if (drained) request->ioprio |= IORING_RECVSEND_POLL_FIRST;
}

}  // namespace

// The ring `trial` is used only to test the kernel.
tl::expected<std::unique_ptr<Ring>, std::string> Ring::open() {
  Ring trial;
  std::unique_ptr<Ring> ring(new Ring);
  std::string wrong = trial.set_up(0);
  if (wrong.empty()) wrong = trial.try_out();
  // The ring is disabled at first: the thread that enables it becomes its owner.
  if (wrong.empty()) wrong = ring->set_up(IORING_SETUP_R_DISABLED);
  if (!wrong.empty()) return tl::unexpected(std::move(wrong));
  return ring;
}

std::string Ring::set_up(unsigned flags) {
  io_uring_params wanted{};
  // The kernel makes completions only when the ring's thread asks for them: no interrupts, no locks (Linux 6.1).
  wanted.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                 IORING_SETUP_CLAMP | flags;
  wanted.cq_entries = kAnswers;
  if (const int result = io_uring_queue_init_params(kRequests, &ring_, &wanted); result < 0)
    return failure("io_uring_setup", -result);
  is_set_up_ = true;
  if ((wanted.features & IORING_FEAT_CQE_SKIP) == 0 || (wanted.features & IORING_FEAT_EXT_ARG) == 0)
    return "the kernel's io_uring lacks a feature";

  constexpr std::size_t kSize = kBuffers * sizeof(io_uring_buf);
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  free_buffers_ = static_cast<io_uring_buf_ring*>(std::aligned_alloc(page, (kSize + page - 1) / page * page));
  if (free_buffers_ == nullptr) return failure("aligned_alloc", ENOMEM);
  io_uring_buf_ring_init(free_buffers_);
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uintptr_t>(free_buffers_);
  registration.ring_entries = kBuffers;
  registration.bgid = kBufferGroup;
  if (const int result = io_uring_register_buf_ring(&ring_, &registration, 0); result < 0)
    return failure("io_uring_register", -result);

  // Not initialised: the kernel allocates a page only once it is written.
  buffers_.reset(new std::uint8_t[kBuffers * kMaxBytes]);
  outgoing_.reset(new std::uint8_t[kOutgoingBytes]);
  for (std::uint16_t buffer = 0; buffer < kBuffers; ++buffer) give_back(buffer);
  return "";
}

// Sends more than a socket accepts, and receives it. The kernel must complete each send before the submission
// returns, because the ring then uses the memory of the sent bytes again.
std::string Ring::try_out() {
  Sockets sockets;
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets.ends.data()) != 0)
    return failure("socketpair", errno);
  const auto [from, to] = sockets.ends;
  const int most = 2 * static_cast<int>(kMaxBytes);
  ::setsockopt(from, SOL_SOCKET, SO_SNDBUF, &most, sizeof most);
  const auto answer_to = [this] {
    io_uring_cqe* answer = nullptr;
    const int result = io_uring_peek_cqe(&ring_, &answer);
    if (result < 0) return result;
    const int size = answer->res;
    if ((answer->flags & IORING_CQE_F_BUFFER) != 0)
      give_back(static_cast<std::uint16_t>(answer->flags >> IORING_CQE_BUFFER_SHIFT));
    io_uring_cqe_seen(&ring_, answer);
    return size;
  };

  const std::vector<std::uint8_t> bytes(16 * kMaxBytes);
  prepare_send(request(Kind::send, 0), from, ByteView(bytes).first(1));
  if (const int result = io_uring_submit(&ring_); result != 1) return failure("io_uring_enter", -result);
  if (io_uring_cq_ready(&ring_) != 0) return "io_uring is not silent about what it has sent";
  prepare_send(request(Kind::send, 0), from, bytes);
  if (const int result = io_uring_submit(&ring_); result != 1) return failure("io_uring_enter", -result);
  if (io_uring_cq_ready(&ring_) != 1) return "io_uring does not answer a send at once";
  const int sent = answer_to();
  if (sent < 0) return failure("io_uring send", -sent);
  if (static_cast<std::size_t>(sent) >= bytes.size()) return "io_uring does not say how much it has sent";

  prepare_receive(request(Kind::receive, 0), to, true);
  submit(-1);
  if (const int received = answer_to(); received != static_cast<int>(kMaxBytes))
    return received < 0 ? failure("io_uring recv", -received) : "io_uring does not receive what there is";
  return "";
}

Ring::~Ring() {
  if (is_set_up_) io_uring_queue_exit(&ring_);  // also ends all requests that are under way
  std::free(free_buffers_);
}

// The ring also waits for libuv's backend descriptor. libuv itself waits only while there is no port.
bool Ring::run_once(uv_loop_t* loop) {
  if (loop_descriptor_ < 0) enable(loop);
  if (places_.size() == vacant_.size()) {
    if (io_uring_sq_ready(&ring_) > 0) submit(0);  // requests that the last ports left
    return uv_run(loop, UV_RUN_ONCE) != 0;
  }
  if (std::exchange(loop_ready_, false) || uv_backend_timeout(loop) == 0) {
    // The sends go first, because a callback of libuv may take long, for example for a handshake.
    if (!sending_.empty()) hand_over(loop, 0);
    if (uv_run(loop, UV_RUN_NOWAIT) == 0) return false;
  }
  take_turn(loop);
  // Timers count from the time after the callbacks.
  uv_update_time(loop);
  return true;
}

void Ring::enable(uv_loop_t* loop) {
  // This is io_uring_enable_rings(), which liburing 2.3 declares but does not contain.
  ::syscall(SYS_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
  io_uring_register_ring_fd(&ring_);  // so that the kernel need not look the ring up in each call; may fail
  loop_descriptor_ = uv_backend_fd(loop);
}

void Ring::take_turn(uv_loop_t* loop) {
  if (!loop_watched_) {
    io_uring_prep_poll_add(request(Kind::loop, 0), loop_descriptor_, POLLIN);
    loop_watched_ = true;
  }
  hand_over(loop, uv_backend_timeout(loop));
  take_answers();
}

// Updates the loop's time after the wait, before the clients are called, as libuv does.
void Ring::hand_over(uv_loop_t* loop, int timeout) {
  begin_sends();
  begin_waiting();
  submit(timeout);
  uv_update_time(loop);
  take_unsent();
}

void Ring::begin_sends() {
  for (const Port* port : sending_)
    prepare_send(request(Kind::send, port->name_), port->descriptor_,
                 {&outgoing_[port->outgoing_begin_], port->outgoing_size_});
}

void Ring::begin_waiting() {
  for (Port* port : wanting_) {
    port->is_listed_ = false;
    if (port->wanted_ && !port->receiving_) begin_receive(*port);
    if (port->room_wanted_ && !std::exchange(port->awaiting_room_, true))
      begin_poll(*port, Kind::room, POLLOUT);
    if (port->end_wanted_ && !std::exchange(port->awaiting_end_, true))
      begin_poll(*port, Kind::gone, POLLRDHUP);
    port->room_wanted_ = port->end_wanted_ = false;
  }
  wanting_.clear();
}

void Ring::begin_receive(Port& port) {
  if (port.received_ > 0) {
    io_uring_prep_nop(request(Kind::again, port.name_));
  } else if (port.waits_for_low_watermark_) {
    if (!std::exchange(port.awaiting_notice_, true)) begin_poll(port, Kind::notice, POLLIN);
  } else {
    prepare_receive(request(Kind::receive, port.name_), port.descriptor_, port.drained_);
    port.receiving_ = true;
  }
}

// Begins a poll that makes one completion.
void Ring::begin_poll(Port& port, Kind kind, unsigned events) {
  io_uring_prep_poll_add(request(kind, port.name_), port.descriptor_, events);
}

// Submits all requests. Then returns when there is a completion, or after `timeout` milliseconds (-1: no limit).
void Ring::submit(int timeout) {
  // If the queue already holds completions of requests submitted earlier in this turn, the call that waits would not
  // make the kernel add the others.
  if (timeout == 0 || io_uring_cq_ready(&ring_) > 0) {
    io_uring_submit_and_get_events(&ring_);
  } else {
    __kernel_timespec limit{.tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1'000'000LL};
    io_uring_cqe* first = nullptr;
    io_uring_submit_and_wait_timeout(&ring_, &first, 1, timeout < 0 ? nullptr : &limit, nullptr);
  }
  while (io_uring_sq_ready(&ring_) > 0)
    io_uring_submit_and_get_events(&ring_);  // the kernel was out of memory
}

// Passes unsent bytes to the clients before anything else, because the next sends overwrite the memory of these
// bytes.
void Ring::take_unsent() {
  if (sending_.empty()) return;
  unsigned head = 0;
  io_uring_cqe* answer = nullptr;
  io_uring_for_each_cqe(&ring_, head, answer) {
    if (static_cast<Kind>(answer->user_data & ((1U << kKindBits) - 1)) != Kind::send) continue;
    Port* port = port_of(answer->user_data);
    if (port == nullptr) continue;
    const auto sent = static_cast<std::size_t>(std::max(answer->res, 0));
    const bool is_full = answer->res >= 0 || answer->res == -EAGAIN;
    const ByteView bytes(&outgoing_[port->outgoing_begin_], port->outgoing_size_);
    port->client_.on_unsent(bytes.subspan(std::min(sent, bytes.size())), is_full ? 0 : -answer->res);
    troubled_.push_back(port->name_);
  }
  for (Port* port : sending_) port->outgoing_size_ = 0;
  sending_.clear();
  outgoing_size_ = 0;
  for (const auto name : troubled_)
    if (Port* port = port_of(name)) port->client_.on_trouble();
  troubled_.clear();
}

void Ring::take_answers() {
  io_uring_cqe* next = nullptr;
  // Also fetches completions that the kernel kept aside while the queue was full.
  while (io_uring_peek_cqe(&ring_, &next) == 0) {
    const io_uring_cqe answer = *next;
    io_uring_cqe_seen(&ring_, next);
    const auto kind = static_cast<Kind>(answer.user_data & ((1U << kKindBits) - 1));
    Port* port = port_of(answer.user_data);
    if (kind == Kind::loop) {
      loop_watched_ = false;
      loop_ready_ = true;
    } else if (kind == Kind::receive && port != nullptr) {
      take_received(*port, answer);
    } else if (kind == Kind::notice && port != nullptr) {
      port->awaiting_notice_ = false;
      port->client_.on_received(0);
    } else if (kind == Kind::room && port != nullptr) {
      port->awaiting_room_ = false;
      port->client_.on_room();
    } else if (kind == Kind::gone && port != nullptr) {
      port->awaiting_end_ = false;
      port->client_.on_gone();
    } else if (kind == Kind::again && port != nullptr) {
      port->client_.on_received(0);
    } else if ((answer.flags & IORING_CQE_F_BUFFER) != 0) {
      give_back(static_cast<std::uint16_t>(answer.flags >> IORING_CQE_BUFFER_SHIFT));
    }
  }
}

void Ring::take_received(Port& port, const io_uring_cqe& answer) {
  port.receiving_ = false;
  const bool has_buffer = (answer.flags & IORING_CQE_F_BUFFER) != 0;
  const auto buffer = static_cast<std::uint16_t>(answer.flags >> IORING_CQE_BUFFER_SHIFT);
  if (answer.res > 0 && has_buffer) {
    port.buffer_ = buffer;
    port.taken_ = 0;
    port.received_ = static_cast<std::uint32_t>(answer.res);
    port.has_filled_ = port.received_ == kMaxBytes;
  } else if (has_buffer) {
    give_back(buffer);
  }
  const bool is_broken =
      answer.res < 0 && answer.res != -ENOBUFS && answer.res != -EAGAIN && answer.res != -EINTR;
  port.client_.on_received(is_broken ? -answer.res : 0);
}

void Ring::give_back(std::uint16_t buffer) {
  io_uring_buf_ring_add(free_buffers_, &buffers_[buffer * kMaxBytes], kMaxBytes, buffer,
                        io_uring_buf_ring_mask(kBuffers), 0);
  io_uring_buf_ring_advance(free_buffers_, 1);
}

io_uring_sqe* Ring::request(Kind kind, std::uint64_t name) {
  io_uring_sqe* request = io_uring_get_sqe(&ring_);
  while (request == nullptr) {
    io_uring_submit(&ring_);
    request = io_uring_get_sqe(&ring_);
  }
  request->user_data = name | static_cast<std::uint64_t>(kind);
  return request;
}

// Returns the port's name: the generation, the index of its place, and zero bits for the kind of a request.
std::uint64_t Ring::enter(Port& port) {
  if (vacant_.empty()) {
    places_.emplace_back();
    // Reserves memory here, so that calls from the loop or from a destructor do not allocate.
    vacant_.reserve(places_.capacity());
    wanting_.reserve(places_.capacity());
    sending_.reserve(kMaxSends);
    troubled_.reserve(kMaxSends);
    vacant_.push_back(static_cast<std::uint32_t>(places_.size() - 1));
  }
  const std::uint32_t index = vacant_.back();
  vacant_.pop_back();
  places_[index].port = &port;
  return (std::uint64_t{places_[index].generation} << 32U) | (std::uint64_t{index} << kKindBits);
}

void Ring::leave(Port& port) {
  std::erase(sending_, &port);
  if (port.is_listed_) std::erase(wanting_, &port);
  if (port.received_ > 0) give_back(port.buffer_);
  if (port.receiving_) cancel(Kind::receive, port.name_);
  if (port.awaiting_notice_) cancel(Kind::notice, port.name_);
  if (port.awaiting_room_) cancel(Kind::room, port.name_);
  if (port.awaiting_end_) cancel(Kind::gone, port.name_);
  const auto index = static_cast<std::uint32_t>(port.name_) >> kKindBits;
  places_[index].port = nullptr;
  ++places_[index].generation;
  vacant_.push_back(index);
}

void Ring::cancel(Kind kind, std::uint64_t name) {
  io_uring_sqe* cancel = request(Kind::cancel, 0);
  io_uring_prep_cancel64(cancel, name | static_cast<std::uint64_t>(kind), 0);
  cancel->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

Ring::Port* Ring::port_of(std::uint64_t name) const {
  const auto index = static_cast<std::uint32_t>(name) >> kKindBits;
  if (index >= places_.size() || places_[index].generation != name >> 32U) return nullptr;
  return places_[index].port;
}

// A port makes one send in each turn: of two sends, the kernel could accept the second after it refused the first.
bool Ring::append(Port& port, ByteView bytes) {
  if (bytes.empty()) return true;
  const std::size_t before = port.outgoing_size_;
  const bool is_last = before > 0 && port.outgoing_begin_ + before == outgoing_size_;
  const std::size_t needed = is_last ? bytes.size() : before + bytes.size();
  if (before + bytes.size() > kMaxBytes || outgoing_size_ + needed > kOutgoingBytes) return false;
  if (before == 0) {
    if (sending_.size() == kMaxSends) return false;
    sending_.push_back(&port);
  }
  if (!is_last) {
    std::copy_n(&outgoing_[port.outgoing_begin_], before, &outgoing_[outgoing_size_]);
    port.outgoing_begin_ = outgoing_size_;
    outgoing_size_ += before;
  }
  std::copy(bytes.begin(), bytes.end(), &outgoing_[outgoing_size_]);
  outgoing_size_ += bytes.size();
  port.outgoing_size_ += bytes.size();
  return true;
}

Ring::Port::Port(Ring& ring, int descriptor, Client& client)
    : ring_(ring), descriptor_(descriptor), client_(client), name_(ring.enter(*this)) {}

Ring::Port::~Port() {
  ring_.leave(*this);
}

void Ring::Port::want(bool drained) {
  wanted_ = true;
  drained_ = drained;
  if (!receiving_) list();
}

void Ring::Port::want_room() {
  room_wanted_ = true;
  if (!awaiting_room_) list();
}

void Ring::Port::watch_for_end() {
  end_wanted_ = true;
  if (!awaiting_end_) list();
}

void Ring::Port::list() {
  if (is_listed_) return;
  is_listed_ = true;
  ring_.wanting_.push_back(this);
}

Ring::Port::Taken Ring::Port::take(std::span<std::uint8_t> room) {
  if (received_ == 0) return {0, false};
  const auto size = std::min<std::size_t>(room.size(), received_ - taken_);
  std::copy_n(&ring_.buffers_[buffer_ * kMaxBytes + taken_], size, room.begin());
  taken_ += static_cast<std::uint32_t>(size);
  if (taken_ < received_) return {size, true};
  received_ = 0;
  ring_.give_back(buffer_);
  return {size, has_filled_};
}

ByteView Ring::Port::take_back() {
  if (outgoing_size_ == 0) return {};
  std::erase(ring_.sending_, this);
  return {&ring_.outgoing_[outgoing_begin_], std::exchange(outgoing_size_, 0)};
}

}  // namespace pgveil::proxy
