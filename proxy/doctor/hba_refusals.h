// Which logins earlier records of a pg_hba.conf leave to a later one, because they do not reject them.
#pragma once

#include <cstddef>
#include <vector>

#include "proxy/doctor/hba_rule.h"

namespace pgveil::proxy {

// How a login over a network is protected.
enum class HbaChannel { plaintext, tls, gssapi };

class HbaRefusals {
 public:
  struct Refusal;  // defined in hba_refusals.cc

  HbaRefusals();
  ~HbaRefusals();
  HbaRefusals(const HbaRefusals&) = delete;
  HbaRefusals& operator=(const HbaRefusals&) = delete;

  // Adds a record that comes before the later ones. Only those with the method reject count.
  void add(const HbaRule& rule);

  // Returns whether `rule` can admit a login in this way. False: its type does not take such logins, or the records that were
  // added reject all of them. They count together: each database, each user and each address family of `rule` may be rejected by
  // another record. If that would take too many comparisons, returns true. A word that is in quotes in the file is taken for the
  // keyword, which pg_hba_file_rules shows in the same way.
  [[nodiscard]] bool leave_logins(const HbaRule& rule, HbaChannel channel);

 private:
  std::vector<Refusal> refusals_;
  std::size_t comparisons_left_ = 1'000'000;  // about a tenth of a second
};

}  // namespace pgveil::proxy
