// A stream that encrypts and decrypts the bytes of another stream with TLS.
#pragma once

#include <memory>

#include "proxy/net/stream.h"
#include "tls/engine.h"

namespace pgveil::proxy {

class TlsStream final : public Stream {
 public:
  // `early`: ciphertext that was already read from `inner`.
  TlsStream(std::unique_ptr<Stream> inner, std::unique_ptr<tls::Engine> engine,
            std::vector<std::uint8_t> early = {})
      : inner_(std::move(inner)), engine_(std::move(engine)), early_(std::move(early)) {}

  // Continues the handshake with the bytes that have arrived. One call reads kMaxReads times at most; the bytes
  // that remain in the kernel wake the owner in the next turn of the loop. `failed`: failure() has the reason, and an
  // alert may have been written.
  enum class Handshake { waiting, done, failed };
  [[nodiscard]] Handshake shake_hands(Scratch& scratch);
  [[nodiscard]] const tls::FailureReport& failure() const { return engine_->failure(); }
  // Returns whether a byte of the peer's handshake has arrived.
  [[nodiscard]] bool peer_has_spoken() const { return peer_has_spoken_; }
  [[nodiscard]] tls::Established take_established() { return engine_->take_established(); }

  [[nodiscard]] Read read(Scratch& scratch, std::size_t most) override;
  [[nodiscard]] bool readable() const override { return holds() || inner_->readable(); }
  [[nodiscard]] bool holds() const override { return !early_.empty() || ended_ || failed_; }
  void write(Scratch& scratch, ByteView bytes) override;
  [[nodiscard]] std::size_t unwritten() const override { return inner_->unwritten(); }
  void pause_reading() override { inner_->pause_reading(); }
  void resume_reading() override { inner_->resume_reading(); }
  [[nodiscard]] bool write_broken() const override { return failed_ || inner_->write_broken(); }
  void look_for_break() override { inner_->look_for_break(); }
  [[nodiscard]] CloseNotify close_notify() const override {
    return close_notify_received_ ? CloseNotify::received : CloseNotify::missing;
  }
  void finish(Scratch& scratch, Finish how) override;
  void wake_at(std::size_t bytes) override { inner_->wake_at(bytes); }
  void move_to(Ring& ring) override { inner_->move_to(ring); }
  [[nodiscard]] WireBytes wire_bytes() const override { return inner_->wire_bytes(); }
  [[nodiscard]] KernelAddress local_address() const override { return inner_->local_address(); }
  [[nodiscard]] std::string error() const override;
  [[nodiscard]] const tls::FailureReport* tls_failure() const override {
    return failed_ ? &engine_->failure() : nullptr;
  }

 private:
  [[nodiscard]] Read decrypt(Scratch& scratch, ByteView ciphertext);
  [[nodiscard]] bool send_answer(Scratch& scratch, ByteView answer);

  std::unique_ptr<Stream> inner_;
  std::unique_ptr<tls::Engine> engine_;
  std::vector<std::uint8_t> early_;  // ciphertext that was read too early
  std::size_t unread_answers_ = 0;   // bytes that the peer has caused and has not read
  bool peer_has_spoken_ = false;
  bool ended_ = false;  // by close_notify, or by the end of the connection
  bool close_notify_received_ = false;
  bool failed_ = false;  // by a record that cannot be decrypted, or by an alert
};

}  // namespace pgveil::proxy
