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

/// A URL for messages: without user, password and query, which may hold secrets. A path is as it was.
std::string without_secrets(std::string_view url);

/// A server's answer that is not the file.
struct HttpError : Error {
  HttpError(const std::string& message, long answered) : Error(message), status(answered) {}
  long status;
};

/// Writes what a URL holds to `target`, over what is there; what fails leaves no file. A transfer that breaks off or
/// stalls (under 1 kB/s for half a minute), and the answers 408, 429 and 5xx, are tried again after a pause that
/// doubles, `attempts` times without a new byte at most; what has arrived is not asked for again where the server says
/// that the file is the same (Range and If-Range, RFC 9110). Throws HttpError for other answers, Error that names the
/// URL for all else, for more than `limit` bytes (a shard has a few billion), and when `stop` is set or a signal has
/// come (base/interrupt.h).
///
/// s3://: at $AWS_ENDPOINT_URL, or Amazon's of $AWS_REGION (us-east-1); signed (version 4) when $AWS_ACCESS_KEY_ID and
/// $AWS_SECRET_ACCESS_KEY are set, with $AWS_SESSION_TOKEN if there is one.
void download(const std::string& url, const std::filesystem::path& target, const std::atomic<bool>& stop,
              std::uint64_t limit = std::uint64_t{64} << 30, int attempts = 24);  // over nine minutes

}  // namespace gondola
