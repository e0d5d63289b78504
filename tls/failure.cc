#include "tls/failure.h"

namespace pgveil::tls {

std::string_view name_of(Failure failure) {
  switch (failure) {
    case Failure::untrusted_issuer: return "untrusted_issuer";
    case Failure::expired: return "expired";
    case Failure::not_yet_valid: return "not_yet_valid";
    case Failure::revoked: return "revoked";
    case Failure::crl_unusable: return "crl_unusable";
    case Failure::wrong_name: return "wrong_name";
    case Failure::wrong_purpose: return "wrong_purpose";
    case Failure::weak: return "weak";
    case Failure::invalid_certificate: return "invalid_certificate";
    case Failure::no_certificate: return "no_certificate";
    case Failure::rejected_by_peer: return "rejected_by_peer";
    case Failure::no_common_version: return "no_common_version";
    case Failure::no_common_parameters: return "no_common_parameters";
    case Failure::no_application_protocol: return "no_application_protocol";
    case Failure::alert: return "alert";
    case Failure::unexpected_eof: return "unexpected_eof";
    case Failure::not_tls: return "not_tls";
    case Failure::protocol_error: return "protocol_error";
    case Failure::internal_error: return "internal_error";
  }
  return "?";
}

}  // namespace pgveil::tls
