#include "proxy/credentials/password_command.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <new>
#include <string_view>
#include <utility>

#include "proxy/base/child_process.h"
#include "proxy/base/deadline.h"
#include "proxy/config/number_values.h"

namespace pgveil::proxy {
namespace {

constexpr std::size_t kMaxOutputBytes = 65'000;  // a cloud's token may have thousands

tl::unexpected<std::string> failed(std::string_view how) {
  return tl::unexpected("password_command " + std::string(how));
}

// Ours, with the login in it.
std::vector<std::string> environment_of(const PasswordTarget& target) {
  std::vector<std::string> all{"PGHOST=" + target.host, "PGPORT=" + std::to_string(target.port),
                               "PGUSER=" + target.user, "PGDATABASE=" + target.database};
  const std::size_t login = all.size();
  for (char** each = environ; *each != nullptr; ++each) {
    const std::string_view variable(*each);
    const std::string_view name = variable.substr(0, variable.find('=') + 1);
    if (std::none_of(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(login),
                     [&](const std::string& set) { return set.starts_with(name) && !name.empty(); }))
      all.emplace_back(variable);
  }
  return all;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

PasswordAnswer first_line_of(std::string_view output) {
  if (output.find('\0') != std::string_view::npos) return failed("printed a NUL byte");
  std::string_view line = output.substr(0, output.find('\n'));
  if (line.size() < output.size() && line.ends_with('\r')) line.remove_suffix(1);
  if (line.empty()) return failed("printed no password");
  return std::make_shared<const protocol::SecretText>(line);
}

}  // namespace

// A process from its start until it is reaped, when the command deletes itself. Those who wait get their
// answer earlier if the process is killed.
class PasswordCommands::Command final : public Wakeable {
 public:
  Command(PasswordCommands& owner, const Key& key)
      : owner_(&owner), key_(key), limit_(owner.loop_, *this), output_(kMaxOutputBytes + 1) {}
  ~Command() { wipe_output(); }
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  // What went wrong, if anything; after that there is no process.
  [[nodiscard]] std::optional<std::string> start(uv_loop_t* loop, std::vector<std::string> arguments);
  void add(PasswordRequest& request) {
    request.command_ = this;
    requests_.push_back(&request);
  }
  void remove(PasswordRequest& request);
  // Ends it with its owner. Nobody is woken.
  void abandon();

  // The time limit.
  void wake() override {
    if (!limit_.passed()) return;
    settle_with(
        [this] { return failed("was not done within " + values::show_duration(key_.config.timeout)); });
  }

  [[nodiscard]] const Key& key() const { return key_; }

 private:
  static void make_room(uv_handle_t* handle, std::size_t suggested, uv_buf_t* room);
  static void on_read(uv_stream_t* stream, ssize_t size, const uv_buf_t* bytes);
  static void on_child_signal(uv_signal_t* watch, int number);

  int spawn(uv_loop_t* loop, int output, std::vector<std::string> arguments);
  void read_rest();
  [[nodiscard]] PasswordAnswer outcome(int status) const;
  void settle(const PasswordAnswer& answer);
  // Calls settle() with what `answer` returns; for libuv's callbacks, which no exception may leave.
  template <class Answer>
  void settle_with(const Answer& answer) {
    try {
      settle(answer());
    } catch (const std::bad_alloc&) {
      settle(tl::unexpected(std::string("out of memory")));  // so short that it needs none
    }
  }
  void stop();
  void wipe_output() { protocol::wipe_secret(output_); }

  PasswordCommands* owner_;  // null once it has no more to do with it
  Key key_;
  Deadline limit_;
  Handle<uv_signal_t> watch_;  // for SIGCHLD; keeps the loop running until the process is reaped
  Handle<uv_pipe_t> pipe_;     // none once settled
  pid_t process_ = -1;
  std::vector<char> output_;  // never grows, so that no copy is left in memory
  std::size_t size_ = 0;
  std::vector<PasswordRequest*> requests_;
};

std::optional<std::string> PasswordCommands::Command::start(uv_loop_t* loop,
                                                            std::vector<std::string> arguments) {
  // A real pipe: libuv's own are sockets, which no program can open as /dev/stdout.
  std::array<uv_file, 2> ends{};
  int status = uv_pipe(ends.data(), UV_NONBLOCK_PIPE, 0);
  if (status == 0) {
    pipe_.reset(new uv_pipe_t);
    uv_pipe_init(loop, pipe_.get(), 0);
    pipe_->data = this;
    if (status = uv_pipe_open(pipe_.get(), ends[0]); status != 0) ::close(ends[0]);
    if (status == 0) status = spawn(loop, ends[1], std::move(arguments));
    ::close(ends[1]);
  }
  if (status != 0) return "password_command cannot be started: " + std::string(uv_strerror(status));
  uv_read_start(reinterpret_cast<uv_stream_t*>(pipe_.get()), make_room, on_read);
  limit_.set(key_.config.timeout);
  return std::nullopt;
}

int PasswordCommands::Command::spawn(uv_loop_t* loop, int output, std::vector<std::string> arguments) {
  auto environment = environment_of(key_.target);
  const auto argument_pointers = pointers_to(arguments);
  const auto environment_pointers = pointers_to(environment);
  // Before the process can end.
  watch_.reset(new uv_signal_t);
  uv_signal_init(loop, watch_.get());
  watch_->data = this;
  if (const int status = uv_signal_start(watch_.get(), on_child_signal, SIGCHLD); status != 0) return status;
  const auto process = start_child(
      {.arguments = argument_pointers.data(), .environment = environment_pointers.data(), .output = output});
  if (!process) return -process.error();
  process_ = *process;
  return 0;
}

void PasswordCommands::Command::remove(PasswordRequest& request) {
  std::erase(requests_, &request);
  if (!requests_.empty() || owner_ == nullptr) return;
  stop();
  std::exchange(owner_, nullptr)->running_.erase(key_);
}

void PasswordCommands::Command::make_room(uv_handle_t* handle, std::size_t /*suggested*/, uv_buf_t* room) {
  auto& self = *static_cast<Command*>(handle->data);
  *room =
      uv_buf_init(self.output_.data() + self.size_, static_cast<unsigned>(self.output_.size() - self.size_));
}

void PasswordCommands::Command::on_read(uv_stream_t* stream, ssize_t size, const uv_buf_t* /*bytes*/) {
  auto& self = *static_cast<Command*>(stream->data);
  if (size < 0) {
    uv_read_stop(stream);  // the end: what remains to be known is how the process ends
    return;
  }
  self.size_ += static_cast<std::size_t>(size);
  if (self.size_ > kMaxOutputBytes)
    self.settle_with(
        [] { return failed("printed more than " + std::to_string(kMaxOutputBytes) + " bytes"); });
}

// Reads what the process had printed when it ended, and the loop has not told of. The end of the pipe is not
// waited for, since something left in the background may hold it open.
void PasswordCommands::Command::read_rest() {
  uv_os_fd_t descriptor = -1;
  if (uv_fileno(reinterpret_cast<uv_handle_t*>(pipe_.get()), &descriptor) != 0) return;
  while (size_ < output_.size()) {
    const ssize_t got = ::read(descriptor, output_.data() + size_, output_.size() - size_);
    if (got == 0 || (got < 0 && errno != EINTR)) return;
    if (got > 0) size_ += static_cast<std::size_t>(got);
  }
}

// Some child of this process has ended.
void PasswordCommands::Command::on_child_signal(uv_signal_t* watch, int /*number*/) {
  auto* command = static_cast<Command*>(watch->data);
  const auto status = take_status_of_child(command->process_);
  if (!status) return;
  const std::unique_ptr<Command> self(command);
  self->process_ = -1;
  if (!self->pipe_) return;
  self->read_rest();
  self->settle_with([&] { return self->outcome(*status); });
}

PasswordAnswer PasswordCommands::Command::outcome(int status) const {
  if (WIFSIGNALED(status)) return failed("was ended by signal " + std::to_string(WTERMSIG(status)));
  if (WEXITSTATUS(status) != 0) return failed("exited with status " + std::to_string(WEXITSTATUS(status)));
  if (size_ > kMaxOutputBytes)
    return failed("printed more than " + std::to_string(kMaxOutputBytes) + " bytes");
  return first_line_of({output_.data(), size_});
}

void PasswordCommands::Command::settle(const PasswordAnswer& answer) {
  stop();
  if (owner_ != nullptr) std::exchange(owner_, nullptr)->ended(*this, answer);
  // One by one: who is woken may let go of others.
  while (!requests_.empty()) {
    PasswordRequest& request = *requests_.back();
    request.answer_ = answer;
    request.command_ = nullptr;
    requests_.pop_back();
    request.waiter_.wake();
  }
}

void PasswordCommands::Command::stop() {
  // The whole group, with whatever the process has started.
  if (process_ > 0) kill_group_of_child(process_);
  limit_.clear();
  pipe_.reset();
  wipe_output();
}

void PasswordCommands::Command::abandon() {
  owner_ = nullptr;
  stop();
  for (PasswordRequest* request : std::exchange(requests_, {})) {
    request->command_ = nullptr;
    request->answer_ = failed("was ended with pgveil");
  }
}

PasswordCommands::PasswordCommands(uv_loop_t* loop, Limits limits, std::function<Clock::time_point()> now)
    : loop_(loop), limits_(limits), now_(std::move(now)) {}

PasswordCommands::~PasswordCommands() {
  for (const auto& [key, command] : running_) command->abandon();
}

std::unique_ptr<PasswordRequest> PasswordCommands::request(const PasswordCommandConfig& config,
                                                           const PasswordTarget& target, Wakeable& waiter) {
  std::unique_ptr<PasswordRequest> request(new PasswordRequest(waiter));
  auto arguments = expand_command(config.argv, target);
  if (!arguments) {
    request->answer_ = failed(arguments.error());
    return request;
  }
  drop_expired();
  Key key{config, target};
  if (const auto cached = cache_.find(key); cached != cache_.end()) {
    request->answer_ = cached->second.password;
    return request;
  }
  if (const auto running = running_.find(key); running != running_.end()) {
    running->second->add(*request);
    return request;
  }
  if (running_.size() >= limits_.running) {
    request->answer_ = failed("is not run: the limit of " + std::to_string(limits_.running) +
                              " running commands is reached");
    return request;
  }
  auto command = std::make_unique<Command>(*this, key);
  if (auto fault = command->start(loop_, std::move(*arguments))) {
    request->answer_ = tl::unexpected(std::move(*fault));
    return request;
  }
  command->add(*request);
  running_.emplace(std::move(key), command.release());
  return request;
}

void PasswordCommands::forget(const PasswordCommandConfig& config, const PasswordTarget& target,
                              const protocol::SecretText& refused) {
  const auto cached = cache_.find({config, target});
  if (cached != cache_.end() && cached->second.password.get() == &refused) drop(cached);
}

void PasswordCommands::ended(const Command& command, const PasswordAnswer& answer) {
  running_.erase(command.key());
  if (answer && command.key().config.ttl.count() > 0) keep(command.key(), *answer);
}

void PasswordCommands::keep(const Key& key, std::shared_ptr<const protocol::SecretText> password) {
  drop_expired();
  if (cache_.size() >= limits_.cached) drop(expiries_.begin()->second);
  // It is not there yet: no command runs for a password that is.
  const auto cached = cache_.emplace(key, Cached{std::move(password), {}}).first;
  cached->second.expiry = expiries_.emplace(now_() + key.config.ttl, cached);
}

void PasswordCommands::drop(Cache::iterator cached) {
  expiries_.erase(cached->second.expiry);
  cache_.erase(cached);
}

void PasswordCommands::drop_expired() {
  const auto now = now_();
  while (!expiries_.empty() && expiries_.begin()->first <= now) drop(expiries_.begin()->second);
}

PasswordRequest::~PasswordRequest() {
  if (command_ != nullptr) command_->remove(*this);
}

}  // namespace pgveil::proxy
