// What pgveil logs in to a server with, in a login that it completes.
#pragma once

#include <memory>
#include <string_view>
#include <utility>
#include <variant>

#include "protocol/scram.h"
#include "protocol/secret.h"
#include "proxy/diagnostics/session_end.h"

namespace pgveil::proxy {

// Where a password comes from: it may have to be waited for.
class PasswordSource {
 public:
  enum class State {
    pending,  // the owner is woken
    ready,    // password() may be called
    failed,   // ending() says why
  };

  virtual ~PasswordSource() = default;

  // Begins to look for it at the first call.
  [[nodiscard]] virtual State state() = 0;
  [[nodiscard]] virtual const protocol::SecretText& password() const = 0;
  [[nodiscard]] virtual Ending ending() const = 0;
  // The server did not accept it: the next login has to ask anew.
  virtual void refused() {}
  // The setting that it comes from, such as "passfile"; empty: the client has sent it, and only the server
  // can say whether it is right.
  [[nodiscard]] virtual std::string_view setting() const = 0;
};

// One that is known.
class KnownPassword final : public PasswordSource {
 public:
  // The text of `setting` must outlive this object.
  KnownPassword(std::shared_ptr<const protocol::SecretText> password, std::string_view setting)
      : password_(std::move(password)), setting_(setting) {}

  [[nodiscard]] State state() override { return State::ready; }
  [[nodiscard]] const protocol::SecretText& password() const override { return *password_; }
  [[nodiscard]] Ending ending() const override { return {}; }
  [[nodiscard]] std::string_view setting() const override { return setting_; }

 private:
  std::shared_ptr<const protocol::SecretText> password_;
  std::string_view setting_;
};

// None: says why the server's question has no answer.
class NoPassword final : public PasswordSource {
 public:
  explicit NoPassword(Ending ending) : ending_(std::move(ending)) {}

  [[nodiscard]] State state() override { return State::failed; }
  [[nodiscard]] const protocol::SecretText& password() const override { return empty_; }
  [[nodiscard]] Ending ending() const override { return ending_; }
  [[nodiscard]] std::string_view setting() const override { return {}; }

 private:
  Ending ending_;
  protocol::SecretText empty_;
};

// SCRAM's keys for one salting: as good as the password for a server that has the same.
struct KeysOfSalting {
  protocol::ScramKeys keys;
  protocol::ScramSalting salting;
};

using Credential = std::variant<std::unique_ptr<PasswordSource>, KeysOfSalting>;

}  // namespace pgveil::proxy
