#include "data/download.h"

#include <curl/curl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/ascii.h"
#include "base/environment.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/streams.h"

namespace gondola {
namespace {

constexpr std::chrono::milliseconds first_pause(500), longest_pause(30'000);

struct Request {
  std::string url;
  std::string user;                  ///< "key:secret" of S3
  std::string signature;             ///< for CURLOPT_AWS_SIGV4
  std::vector<std::string> headers;  ///< those of S3
};

/// Escapes an S3 key, the same for the URL's path and for its signature: everything but the unreserved characters of
/// RFC 3986 and '/' becomes %XX.
std::string escape_key(std::string_view key) {
  constexpr std::string_view kept = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
  std::string escaped;
  for (const char c : key) {
    if (kept.find(c) != std::string_view::npos)
      escaped += c;
    else
      escaped += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return escaped;
}

Request request_of(const std::string& url) {
  constexpr std::string_view s3 = "s3://";
  if (!url.starts_with(s3)) return {url, {}, {}, {}};
  const std::string place = url.substr(s3.size());
  const std::size_t slash = place.find('/');
  if (slash == 0 || slash == std::string::npos || slash + 1 == place.size())
    fail("{}: expected s3://BUCKET/KEY", redact_url(url));
  const std::string bucket = place.substr(0, slash), object = escape_key(place.substr(slash + 1));
  if (bucket.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-") != std::string::npos)
    fail("{}: a bucket's name has lower-case letters, digits, dots and hyphens", redact_url(url));
  const auto named = environment("AWS_REGION");  // boto3 reads the other one
  const std::string region = named ? *named : environment("AWS_DEFAULT_REGION").value_or("us-east-1");
  Request request;
  if (const auto endpoint = environment("AWS_ENDPOINT_URL"))
    request.url = fmt::format("{}{}{}/{}", *endpoint, endpoint->ends_with('/') ? "" : "/", bucket, object);
  else if (bucket.find('.') != std::string::npos)  // Amazon's certificate only covers names of one label
    request.url = fmt::format("https://s3.{}.amazonaws.com/{}/{}", region, bucket, object);
  else
    request.url = fmt::format("https://{}.s3.{}.amazonaws.com/{}", bucket, region, object);
  const auto key = environment("AWS_ACCESS_KEY_ID"), secret = environment("AWS_SECRET_ACCESS_KEY");
  if (key && secret) {
    request.user = *key + ":" + *secret;
    request.signature = fmt::format("aws:amz:{}:s3", region);
    request.headers.push_back("x-amz-content-sha256: UNSIGNED-PAYLOAD");
    if (const auto token = environment("AWS_SESSION_TOKEN"))
      request.headers.push_back("x-amz-security-token: " + *token);
  }
  return request;
}

/// One download in progress.
class Transfer {
 public:
  Transfer(const std::string& url, const std::filesystem::path& target, const std::atomic<bool>& stop,
           std::uint64_t limit, int attempts)
      : limit_(limit),
        attempts_(attempts),
        name_(redact_url(url)),
        target_(target),
        request_(request_of(url)),
        stop_(stop),
        curl_(curl_easy_init()),
        file_(std::fopen(target.c_str(), "wb")) {
    if (!file_) fail_to_write(errno);
    if (!curl_) fail("{}: libcurl cannot be initialised", name_);
  }

  void run() {
    auto pause = first_pause;
    for (int attempt = 1;; ++attempt) {
      const std::string failure = try_once();
      if (failure.empty()) break;
      if (stopped()) fail("{}: interrupted", name_);
      const bool progress = received_ > max_received_;
      if (progress) {
        attempt = 1;
        pause = first_pause;
        max_received_ = received_;
      }
      if (attempt == attempts_) fail("{}: {}, {} times", name_, failure, attempt);
      if (!progress) print_error("{}: {}; trying again, {} of {}", name_, failure, attempt, attempts_ - 1);
      for (auto waited = std::chrono::milliseconds(0); waited < pause && !stopped();
           waited += std::chrono::milliseconds(50))
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
      pause = std::min(2 * pause, longest_pause);
    }
    // On the disk before it gets its final name: whoever finds that name takes the file to be complete.
    if (std::fflush(file_.get()) != 0 || !flush_to_disk(::fileno(file_.get())) || std::fclose(file_.release()) != 0)
      fail_to_write(errno);
  }

 private:
  bool stopped() const { return stop_ || interrupted(); }
  [[noreturn]] void fail_to_write(int error) const {
    fail("{}: {}: cannot be written: {}", name_, target_.string(), std::strerror(error));
  }
  /// Returns what went wrong if a retry may help; empty when the file is complete.
  std::string try_once();
  void prepare(curl_slist*& headers);
  std::size_t on_header(std::string_view line);
  std::size_t on_bytes(const char* bytes, std::size_t count);
  bool restart();

  std::uint64_t limit_;
  int attempts_;  ///< without a new byte
  std::string name_;
  std::filesystem::path target_;
  Request request_;
  const std::atomic<bool>& stop_;
  std::unique_ptr<CURL, decltype([](CURL* curl) { curl_easy_cleanup(curl); })> curl_;
  std::unique_ptr<std::FILE, decltype([](std::FILE* file) { std::fclose(file); })> file_;
  std::uint64_t received_ = 0;                             ///< bytes in the file
  std::uint64_t max_received_ = 0;                         ///< of this version: after a restart, less is no progress
  std::string validator_;                                  ///< identifies this version of the file in If-Range
  std::string etag_, modified_;                            ///< of the current response
  std::optional<std::uint64_t> range_begin_, total_size_;  ///< of its Content-Range
  int write_error_ = 0;                                    ///< an errno
  bool too_long_ = false, begun_ = false;
};

void Transfer::prepare(curl_slist*& headers) {
  CURL* curl = curl_.get();
  const auto set = [&](CURLoption option, auto value) {
    if (curl_easy_setopt(curl, option, value) != CURLE_OK) fail("{}: libcurl is too old", name_);
  };
  curl_easy_reset(curl);
  set(CURLOPT_URL, request_.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_REDIR_PROTOCOLS_STR, lower_ascii(request_.url).starts_with("https:") ? "https" : "http,https");
  set(CURLOPT_MAXREDIRS, 5L);
  set(CURLOPT_FOLLOWLOCATION, request_.signature.empty() ? 1L : 0L);  // S3's headers go to no other host
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_CONNECTTIMEOUT, 30L);
  set(CURLOPT_LOW_SPEED_LIMIT, 1000L);
  set(CURLOPT_LOW_SPEED_TIME, 30L);
  set(CURLOPT_USERAGENT, "gondola");
  if (!request_.signature.empty()) {
    set(CURLOPT_AWS_SIGV4, request_.signature.c_str());
    set(CURLOPT_USERPWD, request_.user.c_str());
  }
  for (const std::string& header : request_.headers) headers = curl_slist_append(headers, header.c_str());
  if (received_ > 0 && !validator_.empty()) {
    headers = curl_slist_append(headers, fmt::format("Range: bytes={}-", received_).c_str());
    headers = curl_slist_append(headers, ("If-Range: " + validator_).c_str());
  }
  set(CURLOPT_HTTPHEADER, headers);
  set(
      CURLOPT_HEADERFUNCTION, +[](char* bytes, std::size_t, std::size_t count, void* self) {
        return static_cast<Transfer*>(self)->on_header({bytes, count});
      });
  set(CURLOPT_HEADERDATA, this);
  set(
      CURLOPT_WRITEFUNCTION, +[](char* bytes, std::size_t, std::size_t count, void* self) {
        return static_cast<Transfer*>(self)->on_bytes(bytes, count);
      });
  set(CURLOPT_WRITEDATA, this);
  set(CURLOPT_NOPROGRESS, 0L);
  set(
      CURLOPT_XFERINFOFUNCTION, +[](void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
        return static_cast<Transfer*>(self)->stopped() ? 1 : 0;
      });
  set(CURLOPT_XFERINFODATA, this);
}

std::string Transfer::try_once() {
  curl_slist* list = nullptr;
  prepare(list);
  const std::unique_ptr<curl_slist, decltype([](curl_slist* each) { curl_slist_free_all(each); })> headers(list);
  begun_ = false;
  const CURLcode result = curl_easy_perform(curl_.get());
  long status = 0;
  curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &status);
  if (write_error_ != 0) fail_to_write(write_error_);
  if (too_long_) fail("{}: more than {} bytes", name_, limit_);
  for (const CURLcode hopeless : {CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL, CURLE_PEER_FAILED_VERIFICATION})
    if (result == hopeless) fail("{}: {}", name_, curl_easy_strerror(result));
  if (status == 416) {  // the requested range does not exist any more
    validator_.clear();
    max_received_ = 0;
    return "the file has changed";
  }
  if (status == 408 || status == 429 || status >= 500) return fmt::format("HTTP {}", status);
  if (status != 0 && status != 200 && status != 206) {
    const bool elsewhere = name_.starts_with("s3://") && (status == 301 || status == 400);
    const char* hint = elsewhere ? " (is AWS_REGION the bucket's, and AWS_SESSION_TOKEN still valid?)" : "";
    throw HttpError(fmt::format("{}: HTTP {}{}", name_, status, hint), status);
  }
  if (result != CURLE_OK) return curl_easy_strerror(result);
  if (status == 200 && !begun_ && !restart()) fail_to_write(write_error_);  // an empty file
  if (status == 206 && !begun_) return "an empty range";
  if (status == 206 && received_ != total_size_) {
    if (!total_size_ || received_ > *total_size_) validator_.clear();
    return "only part of what was requested";
  }
  return {};
}

/// Discards what has arrived; false when the file cannot be truncated.
bool Transfer::restart() {
  received_ = 0;
  std::rewind(file_.get());
  const std::string before = std::exchange(validator_, etag_.empty() ? modified_ : etag_);
  if (!before.empty() && before != validator_) max_received_ = 0;
  if (::ftruncate(::fileno(file_.get()), 0) != 0) write_error_ = errno;
  return write_error_ == 0;
}

std::size_t Transfer::on_header(std::string_view line) {
  if (line.starts_with("HTTP/")) {  // a new response, e.g. after a redirect
    etag_.clear();
    modified_.clear();
    range_begin_.reset();
    total_size_.reset();
  }
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return line.size();
  const std::string field = lower_ascii(line.substr(0, colon));
  const std::size_t first = line.find_first_not_of(" \t", colon + 1), last = line.find_last_not_of(" \t\r\n");
  if (first == std::string_view::npos || last < first) return line.size();
  const std::string_view value = line.substr(first, last - first + 1);
  if (field == "etag" && !value.starts_with("W/")) etag_ = value;
  if (field == "last-modified") modified_ = value;
  constexpr std::string_view bytes = "bytes ";
  if (field == "content-range" && value.starts_with(bytes)) {
    const std::string_view range = value.substr(bytes.size());
    range_begin_ = parse_number(range.substr(0, range.find('-')));
    if (const std::size_t slash = range.find('/'); slash != std::string_view::npos)
      total_size_ = parse_number(range.substr(slash + 1));
  }
  return line.size();
}

std::size_t Transfer::on_bytes(const char* bytes, std::size_t count) {
  long status = 0;
  curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status != 200 && status != 206) return count;  // the body of an error response
  if (!begun_) {
    begun_ = true;
    if (status == 200) {  // the whole file, whatever range was requested
      if (!restart()) return 0;
    } else if (range_begin_ != received_) {
      validator_.clear();
      return 0;
    }
  }
  too_long_ = count > limit_ - received_;
  if (too_long_) return 0;
  if (std::fwrite(bytes, 1, count, file_.get()) != count) {
    write_error_ = errno;
    return 0;
  }
  received_ += count;
  return count;
}

}  // namespace

bool is_url(std::string_view name) {
  return name.starts_with("http://") || name.starts_with("https://") || name.starts_with("s3://");
}

std::string redact_url(std::string_view url) {
  if (!is_url(url)) return std::string(url);
  const std::size_t host = url.find("://") + 3;
  const std::size_t user = url.substr(0, url.find('/', host)).rfind('@');
  const std::size_t begin = user == std::string_view::npos || user < host ? host : user + 1;
  return std::string(url.substr(0, host)) + std::string(url.substr(begin, url.find_first_of("?#", begin) - begin));
}

void download(const std::string& url, const std::filesystem::path& target, const std::atomic<bool>& stop,
              std::uint64_t limit, int attempts) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  try {
    Transfer(url, target, stop, limit, attempts).run();
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(target, ignored);
    throw;
  }
}

}  // namespace gondola
