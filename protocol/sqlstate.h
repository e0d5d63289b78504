// The SQLSTATEs that pgveil sends, or recognizes in the errors of servers, with PostgreSQL's names for them
// (src/backend/utils/errcodes.txt).
#pragma once

#include <algorithm>
#include <string_view>

namespace pgveil::protocol::sqlstate {

// Whether a text is one: five digits and upper-case letters. A server may send anything in the field.
[[nodiscard]] constexpr bool is_well_formed(std::string_view text) {
  constexpr std::size_t kLength = 5;
  return text.size() == kLength &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'); });
}

inline constexpr std::string_view kSqlclientUnableToEstablishSqlconnection = "08001";
inline constexpr std::string_view kConnectionFailure = "08006";
inline constexpr std::string_view kProtocolViolation = "08P01";
inline constexpr std::string_view kFeatureNotSupported = "0A000";
inline constexpr std::string_view kInvalidParameterValue = "22023";
inline constexpr std::string_view kInvalidAuthorizationSpecification = "28000";
inline constexpr std::string_view kInvalidAuthorizationClass = "28";  // the class of both above
inline constexpr std::string_view kInvalidPassword = "28P01";
inline constexpr std::string_view kUndefinedStatement = "26000";
inline constexpr std::string_view kUndefinedPortal = "34000";
inline constexpr std::string_view kInvalidCatalogName = "3D000";  // the database does not exist
inline constexpr std::string_view kInsufficientPrivilege = "42501";
inline constexpr std::string_view kSyntaxError = "42601";
inline constexpr std::string_view kUndefinedObject = "42704";
inline constexpr std::string_view kOutOfMemory = "53200";
inline constexpr std::string_view kTooManyConnections = "53300";
inline constexpr std::string_view kProgramLimitExceeded = "54000";
inline constexpr std::string_view kObjectNotInPrerequisiteState = "55000";
inline constexpr std::string_view kQueryCanceled = "57014";
inline constexpr std::string_view kAdminShutdown = "57P01";
inline constexpr std::string_view kCannotConnectNow = "57P03";
inline constexpr std::string_view kIdleSessionTimeout = "57P05";
inline constexpr std::string_view kInternalError = "XX000";

}  // namespace pgveil::protocol::sqlstate
