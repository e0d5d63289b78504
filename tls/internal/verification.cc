#include "tls/internal/verification.h"

#include <openssl/err.h>

#include <memory>

#include "tls/internal/certificate_values.h"

namespace pgveil::tls {
namespace {

Failure failure_of_verdict(int error) {
  switch (error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED: return Failure::untrusted_issuer;
    case X509_V_ERR_CERT_HAS_EXPIRED: return Failure::expired;
    case X509_V_ERR_CERT_NOT_YET_VALID: return Failure::not_yet_valid;
    case X509_V_ERR_CERT_REVOKED: return Failure::revoked;
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
    case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
    case X509_V_ERR_CRL_SIGNATURE_FAILURE:
    case X509_V_ERR_CRL_NOT_YET_VALID:
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD:
    case X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD:
    case X509_V_ERR_DIFFERENT_CRL_SCOPE:
    case X509_V_ERR_CRL_PATH_VALIDATION_ERROR:
    case X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION:
    case X509_V_ERR_KEYUSAGE_NO_CRL_SIGN: return Failure::crl_unusable;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: return Failure::wrong_name;
    case X509_V_ERR_INVALID_PURPOSE:
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN: return Failure::wrong_purpose;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK: return Failure::weak;
    default: return Failure::invalid_certificate;
  }
}

std::string sentence_of(const FailureReport& report, X509* certificate) {
  const std::string who = "The certificate " + holder_of(certificate);
  switch (report.failure) {
    case Failure::expired:
      return who + " expired on " + utc_text(seconds_since_1970(X509_get0_notAfter(certificate))) + ".";
    case Failure::not_yet_valid:
      return who + " is not valid before " + utc_text(seconds_since_1970(X509_get0_notBefore(certificate))) +
             ".";
    case Failure::untrusted_issuer:
      return who + " was issued by \"" + report.issuer +
             "\", which leads to no trusted authority: " + report.reason + ".";
    case Failure::revoked: return who + " was revoked by its issuer \"" + report.issuer + "\".";
    case Failure::crl_unusable:
      return who + " could not be checked against a CRL of \"" + report.issuer + "\": " + report.reason + ".";
    default: return who + " was refused: " + report.reason + ".";
  }
}

Failure failure_of_reason(int reason) {
  switch (reason) {
    case SSL_R_UNEXPECTED_EOF_WHILE_READING: return Failure::unexpected_eof;
    case ERR_R_INTERNAL_ERROR: return Failure::internal_error;
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_BAD_RECORD_TYPE: return Failure::not_tls;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_UNKNOWN_SSL_VERSION:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_VERSION_TOO_HIGH:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION: return Failure::no_common_version;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_TLSV1_ALERT_INSUFFICIENT_SECURITY:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE: return Failure::no_common_parameters;
    case SSL_R_NO_APPLICATION_PROTOCOL:
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL: return Failure::no_application_protocol;
    case SSL_R_DH_KEY_TOO_SMALL:
    case SSL_R_EE_KEY_TOO_SMALL:
    case SSL_R_CA_KEY_TOO_SMALL:
    case SSL_R_CA_MD_TOO_WEAK: return Failure::weak;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return Failure::no_certificate;
    case SSL_R_CERTIFICATE_VERIFY_FAILED: return Failure::invalid_certificate;
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_NO_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED: return Failure::rejected_by_peer;
    default: return reason >= SSL_AD_REASON_OFFSET ? Failure::alert : Failure::protocol_error;
  }
}

}  // namespace

FailureReport report_of(X509_STORE_CTX* verification) {
  const int error = X509_STORE_CTX_get_error(verification);
  FailureReport report;
  report.failure = failure_of_verdict(error);
  report.reason = X509_verify_cert_error_string(error);
  report.depth = X509_STORE_CTX_get_error_depth(verification);
  if (X509* certificate = X509_STORE_CTX_get_current_cert(verification)) {
    report.subject = name_text(X509_get_subject_name(certificate));
    report.issuer = name_text(X509_get_issuer_name(certificate));
    report.detail = sentence_of(report, certificate);
  }
  if (X509* leaf = X509_STORE_CTX_get0_cert(verification))
    report.peer = std::make_shared<const PeerCertificate>(values_of(leaf));
  return report;
}

FailureReport wrong_name_report(X509* leaf, const std::string& host, CommonNameRule rule) {
  return {.failure = Failure::wrong_name,
          .reason = X509_verify_cert_error_string(X509_V_ERR_HOSTNAME_MISMATCH),
          .depth = 0,
          .subject = name_text(X509_get_subject_name(leaf)),
          .issuer = name_text(X509_get_issuer_name(leaf)),
          .detail = "Host is \"" + host + "\"; the certificate names " + describe(names_of(leaf), rule) + ".",
          .peer = std::make_shared<const PeerCertificate>(values_of(leaf))};
}

FailureReport unrecognized_name_report(const std::string& name) {
  return {.failure = Failure::no_common_parameters,
          .reason = "unrecognized name",
          .depth = 0,
          .subject = {},
          .issuer = {},
          .detail = name.empty() ? "The client asked for no server name, and no certificate is the default."
                                 : "The client asked for \"" + printable(name) +
                                       "\", for which no certificate is set."};
}

std::string no_post_quantum_text(bool is_server, const std::string& reason) {
  std::string text = "post_quantum is \"require\", and the ";
  text.append(is_server ? "client" : "server");
  text.append(" does not agree on TLS 1.3 with a hybrid group of ML-KEM: ").append(reason).append(".");
  return text;
}

std::string shown_certificate_text(X509* leaf, const std::string& server_name) {
  const std::string asked = server_name.empty() ? "no server name" : "\"" + printable(server_name) + "\"";
  return "The certificate names " + describe(names_of(leaf)) + "; the client asked for " + asked + ".";
}

FailureReport take_ssl_failure() {
  FailureReport report;
  const unsigned long code = ERR_peek_error();
  report.failure =
      ERR_GET_LIB(code) == ERR_LIB_SSL ? failure_of_reason(ERR_GET_REASON(code)) : Failure::protocol_error;
  report.reason = take_openssl_error();
  return report;
}

}  // namespace pgveil::tls
