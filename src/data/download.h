#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.h"

namespace gondola {

/// "http://…", "https://…" or "s3://BUCKET/KEY".
bool is_url(std::string_view name);

/// Strips user, password and query, which may hold secrets, from a URL for messages. Returns a path unchanged.
std::string redact_url(std::string_view url);

/// A server's response that is not the file.
struct HttpError : Error {
  HttpError(const std::string& message, long answered) : Error(message), status(answered) {}
  long status;
};

/// Downloads a URL to `target`, replacing what is there; a failure leaves no file. A transfer that breaks off or stalls
/// (under 1 kB/s for half a minute) and the statuses 408, 429 and 5xx are retried after a pause that doubles, at most
/// `attempts` times without a new byte. A retry resumes where the last attempt ended if the server says that the file
/// is the same (Range and If-Range, RFC 9110). Throws HttpError for other statuses, and Error that names the URL for
/// any other failure, including more than `limit` bytes (a shard has a few billion) and an interruption by `stop` or a
/// signal (base/interrupt.h).
///
/// s3:// URLs go to $AWS_ENDPOINT_URL, or to Amazon's endpoint of $AWS_REGION or $AWS_DEFAULT_REGION (else us-east-1).
/// They are signed (version 4) when $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY are set, with $AWS_SESSION_TOKEN if
/// there is one.
void download(const std::string& url, const std::filesystem::path& target, const std::atomic<bool>& stop,
              std::uint64_t limit = std::uint64_t{64} << 30, int attempts = 24);  // over nine minutes

}  // namespace gondola
