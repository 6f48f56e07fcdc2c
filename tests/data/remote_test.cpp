// Shards behind URLs, from a server that misbehaves as servers do.
#include <curl/curl.h>
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

#include "base/interrupt.h"
#include "data/dataset.h"
#include "data/download.h"
#include "data/remote_files.h"
#include "tests/data/http_server.h"
#include "tests/data/support.h"

/// Replaces libcurl's own function, which trusts only the system's certificates and not a test's.
extern "C" CURLcode curl_easy_perform(CURL* curl) {
  static const auto perform = reinterpret_cast<CURLcode (*)(CURL*)>(::dlsym(RTLD_NEXT, "curl_easy_perform"));
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
  return perform(curl);
}

namespace gondola {
namespace {

namespace fs = std::filesystem;
using test::HttpServer;
using test::TemporaryFolder;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;
using testing::ThrowsMessage;

std::string response(const std::string& status, const std::string& headers, const std::string& body) {
  return "HTTP/1.1 " + status + "\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         headers + "\r\n" + body;
}

const std::string not_there = response("404 Not Found", "", "<html>nothing here</html>");

class Remote : public testing::Test {
 protected:
  Remote() {
    ::setenv("XDG_CACHE_HOME", folder_.path().c_str(), 1);
    for (const char* name : {"http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"})
      ::unsetenv(name);
  }
  std::string fetch(const std::string& url) {
    download(url, folder_.path() / "file", stop_);
    return read_file(folder_.path() / "file");
  }
  /// A response that promises the whole content but ends after `bytes` bytes of it.
  std::string broken_off(const std::string& headers, std::size_t bytes) const {
    const std::string whole = response("200 OK", headers, content_);
    return whole.substr(0, whole.size() - content_.size() + bytes);
  }

  TemporaryFolder folder_;
  const std::string content_ = read_file(test::golden("data/ustar.tar"));
  const std::atomic<bool> stop_ = false;
};

TEST_F(Remote, ShardsGiveTheSamplesOfTheFile) {
  HttpServer server([&](const std::string& request) {
    return request.find(".tar") == std::string::npos ? not_there : response("200 OK", "", content_);
  });
  const auto local = open_dataset(test::golden("data/ustar.tar").string());
  for (int time = 0; time < 2; ++time) {
    const auto remote = open_dataset(server.url("/set/{a,b}.tar"));
    ASSERT_EQ(remote->size(), 2 * local->size());
    for (std::size_t i = 0; i < remote->size(); ++i) {
      EXPECT_EQ(remote->get(i).image, local->get(i % local->size()).image);
      EXPECT_EQ(remote->get(i).captions, local->get(i % local->size()).captions);
    }
    EXPECT_THAT(remote->get(0).key, StartsWith(server.url("/set/a.tar:")));
  }
  EXPECT_THAT(server.requests(), SizeIs(4));  // two shards, and sizes.json at each opening
}

/// S3 answers 403 for a missing file if the client may not list the bucket.
TEST_F(Remote, SamplesAreCountedOnce) {
  HttpServer server([&](const std::string& request) {
    return request.find(".tar") == std::string::npos ? response("403 Forbidden", "", "")
                                                     : response("200 OK", "", content_);
  });
  const std::size_t size = open_dataset(server.url("/set/{a,b}.tar"))->size();
  for (const auto& entry : fs::recursive_directory_iterator(folder_.path()))
    if (entry.path().string().ends_with(".tar")) fs::remove(entry.path());
  EXPECT_EQ(open_dataset(server.url("/set/{a,b}.tar"))->size(), size);
  EXPECT_THAT(server.requests(), SizeIs(4));  // no shard again, although none is cached
  for (const auto& entry : fs::recursive_directory_iterator(folder_.path()))
    if (entry.path().string().ends_with(".sizes.json")) test::write(entry.path(), fmt::format("[{}]", size / 2));
  EXPECT_EQ(open_dataset(server.url("/set/{a,b}.tar"))->size(), size) << "of a count that was broken off";
  EXPECT_THAT(server.requests().back(), StartsWith("GET /set/b.tar"));
  EXPECT_THAT(server.requests(), SizeIs(6));
}

TEST_F(Remote, FailuresNameTheUrl) {
  std::string wrong = content_;
  wrong.replace(wrong.find("\"caption\""), 9, "\"another\"");
  HttpServer server([&](const std::string& request) {
    return request.find(".tar") == std::string::npos ? not_there : response("200 OK", "", wrong);
  });
  const auto data = open_dataset(server.url("/set/a.tar"));
  EXPECT_THAT([&] { data->get(1); }, ThrowsMessage<Error>(StartsWith(server.url("/set/a.tar:"))));
}

TEST_F(Remote, OnlyADamagedShardIsCountedAgain) {
  std::string shard = content_.substr(0, content_.size() * 2 / 3 + 7);  // in the middle of a block
  HttpServer server([&](const std::string& request) {
    if (request.find(".tar") == std::string::npos) return not_there;
    return response("200 OK", "", request.starts_with("GET /set/a.tar") ? shard : content_);
  });
  const std::size_t damaged = open_dataset(server.url("/set/{a,b}.tar"))->size();
  EXPECT_THAT(server.requests(), SizeIs(3));  // sizes.json and both shards
  shard = content_;
  for (const auto& entry : fs::recursive_directory_iterator(folder_.path()))
    if (entry.path().string().ends_with(".tar")) fs::remove(entry.path());
  EXPECT_GT(open_dataset(server.url("/set/{a,b}.tar"))->size(), damaged);
  EXPECT_THAT(server.requests().back(), StartsWith("GET /set/a.tar"));
  EXPECT_THAT(server.requests(), SizeIs(5));
}

TEST_F(Remote, ShardsOfKnownSizesAreFetchedOnlyWhenNeeded) {
  const std::size_t size = open_dataset(test::golden("data/ustar.tar").string())->size();
  HttpServer server([&](const std::string& request) {
    if (request.find("sizes.json") != std::string::npos)
      return response("200 OK", "", fmt::format("{{\"a.tar\": {}, \"b.tar\": {}}}", size, size + 1));
    return response("200 OK", "", content_);
  });
  const auto remote = open_dataset(server.url("/set/{a,b}.tar?token=secret"));
  EXPECT_EQ(remote->size(), 2 * size + 1);
  EXPECT_THAT(server.requests(), SizeIs(1));
  EXPECT_FALSE(remote->get(size - 1).image.empty());
  EXPECT_THAT(server.requests(), SizeIs(2));
  EXPECT_THAT(server.requests().back(), StartsWith("GET /set/a.tar?token=secret HTTP"));
  EXPECT_THAT(
      [&] { remote->get(2 * size); },
      ThrowsMessage<Error>(AllOf(HasSubstr("/set/b.tar"), HasSubstr("sizes.json says"), Not(HasSubstr("secret")))));
}

/// The file is recognised by its ETag or its date.
TEST_F(Remote, ABrokenTransferResumesWhereItStopped) {
  const std::size_t half = content_.size() / 2;
  const std::string date = "Wed, 21 Oct 2015 07:28:00 GMT";
  for (const auto& [sent, asked] : {std::pair("ETag: \"one\"\r\n", std::string("\"one\"")),
                                    {"Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n", date}}) {
    HttpServer server([&](const std::string& request) {
      if (request.find("Range: bytes=") == std::string::npos) return broken_off(sent, half);
      EXPECT_THAT(request, AllOf(HasSubstr(fmt::format("Range: bytes={}-", half)), HasSubstr("If-Range: " + asked)));
      return response(
          "206 Partial Content",
          sent + fmt::format("Content-Range: bytes {}-{}/{}\r\n", half, content_.size() - 1, content_.size()),
          content_.substr(half));
    });
    EXPECT_EQ(fetch(server.url("/x.tar")), content_);
    EXPECT_THAT(server.requests(), SizeIs(2));
  }
}

/// A server without ranges sends nothing new until it passes what it has sent already.
TEST_F(Remote, ARestartedTransferIsNotCountedAsProgress) {
  int answered = 0;
  HttpServer server([&](const std::string&) {
    constexpr std::size_t lengths[] = {1000, 10};
    return answered < 2 ? broken_off("", lengths[answered++]) : response("200 OK", "", content_);
  });
  testing::internal::CaptureStderr();
  EXPECT_EQ(fetch(server.url("/x.tar")), content_);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("trying again"));
}

TEST_F(Remote, AFileThatChangedMeanwhileIsFetchedAgain) {
  const std::string changed = "another version, longer than half of the first: " + content_;
  int answered = 0;
  HttpServer server([&](const std::string&) {
    if (answered++ > 0) return response("200 OK", "ETag: \"two\"\r\n", changed);
    return broken_off("ETag: \"one\"\r\n", content_.size() / 2);
  });
  EXPECT_EQ(fetch(server.url("/x.tar")), changed);
}

TEST_F(Remote, AWrongRangeIsDiscarded) {
  int answered = 0;
  HttpServer server([&](const std::string& request) {
    const std::string tag = "ETag: \"one\"\r\n";
    if (answered++ == 0) return broken_off(tag, content_.size() / 2);
    if (request.find("Range: ") == std::string::npos) return response("200 OK", tag, content_);
    return response("206 Partial Content", "Content-Range: bytes 3-9/10\r\n", "nonsense");
  });
  EXPECT_EQ(fetch(server.url("/x.tar")), content_);
}

TEST_F(Remote, AnIncompleteRangeIsContinued) {
  const std::size_t third = content_.size() / 3;
  HttpServer server([&](const std::string& request) {
    const std::string tag = "ETag: \"one\"\r\n", range = "Range: bytes=";
    const std::size_t asked = request.find(range);
    const std::size_t begin = asked == std::string::npos ? 0 : std::stoul(request.substr(asked + range.size()));
    if (begin == 0) return broken_off(tag, third);
    const std::string part = content_.substr(begin, third);
    return response(
        "206 Partial Content",
        tag + fmt::format("Content-Range: bytes {}-{}/{}\r\n", begin, begin + part.size() - 1, content_.size()), part);
  });
  EXPECT_EQ(fetch(server.url("/x.tar")), content_);
}

TEST_F(Remote, AFileThatBecameEmptyIsFetchedAsEmpty) {
  int answered = 0;
  HttpServer server([&](const std::string&) {
    if (answered++ > 0) return response("200 OK", "ETag: \"two\"\r\n", "");
    return broken_off("ETag: \"one\"\r\n", content_.size() / 2);
  });
  EXPECT_EQ(fetch(server.url("/x.tar")), "");
}

TEST_F(Remote, ABusyServerIsAskedAgain) {
  for (const char* status : {"503 Service Unavailable", "429 Too Many Requests", "408 Request Timeout"}) {
    int answered = 0;
    HttpServer server([&](const std::string&) {
      return answered++ == 0 ? response(status, "", "later") : response("200 OK", "", content_);
    });
    EXPECT_EQ(fetch(server.url("/x.tar")), content_) << status;
  }
}

using RemoteDeathTest = Remote;

/// However slow the server is, since the run still has to write its checkpoint.
TEST_F(RemoteDeathTest, TransfersEndOnceInterrupted) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        HttpServer server([&](const std::string&) {
          std::raise(SIGTERM);
          std::this_thread::sleep_for(std::chrono::hours(1));
          return not_there;
        });
        catch_interrupts();
        try {
          RemoteFiles(folder_.path() / "shards").open(server.url("/x.tar"));
        } catch (const Error& error) {
          std::_Exit(std::string_view(error.what()).ends_with("/x.tar: interrupted") ? 0 : 1);
        }
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(Remote, RefusalsNameTheUrlWithoutItsSecrets) {
  HttpServer server([&](const std::string&) { return not_there; });
  std::string url = server.url("/x.tar?signature=secret");
  url.insert(7, "user:secret@");
  EXPECT_THAT([&] { fetch(url); }, ThrowsMessage<HttpError>(server.url("/x.tar") + ": HTTP 404"));
  EXPECT_THAT([&] { open_dataset(server.url("/set/*.tar")); }, ThrowsMessage<Error>(HasSubstr("cannot be listed")));
  EXPECT_THAT([&] { open_dataset(server.url("/set/a.zip")); }, ThrowsMessage<Error>(HasSubstr("of a .tar file")));
  EXPECT_THAT([&] { open_dataset("https://user:secret@host/{9..1}.tar?signature=secret"); },
              ThrowsMessage<Error>("https://host/{9..1}.tar: the range {9..1} runs backwards"));
  EXPECT_THAT([&] { fetch("s3://bucket"); }, ThrowsMessage<Error>(HasSubstr("s3://BUCKET/KEY")));
  EXPECT_THAT([&] { fetch("s3://evil.com#/x.tar"); }, ThrowsMessage<Error>(HasSubstr("a bucket's name")));
  int answered = 0;  // a redirection must not lead to a local file
  HttpServer other([&](const std::string&) {
    ++answered;
    return response("302 Found", "Location: file:///etc/hostname\r\n", "");
  });
  EXPECT_THROW(fetch(other.url("/x.tar")), Error);
  EXPECT_EQ(answered, 1);
}

/// Anyone on the way could answer in its place.
TEST_F(Remote, RedirectsFromHttpsToHttpAreRefused) {
  if (std::system("openssl version > /dev/null 2>&1") != 0) GTEST_SKIP() << "needs openssl";
  HttpServer plain([&](const std::string&) { return response("200 OK", "", content_); });
  HttpServer redirecting(
      [&](const std::string&) { return response("302 Found", "Location: " + plain.url("/x.tar") + "\r\n", ""); });
  EXPECT_EQ(fetch(redirecting.url("/x.tar")), content_);
  EXPECT_THAT(plain.requests(), SizeIs(1));

  // s_server -HTTP sends the content of a file as the whole response.
  test::write(folder_.path() / "x.tar", response("302 Found", "Location: " + plain.url("/x.tar") + "\r\n", ""));
  const std::string serve = fmt::format(
      "cd '{}' && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout key "
      "-out certificate 2> /dev/null && exec timeout 20 openssl s_server -HTTP -accept 127.0.0.1:0 -naccept 1 -key key "
      "-cert certificate 2> /dev/null",
      folder_.path().string());
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> encrypted(::popen(serve.c_str(), "r"), &::pclose);
  std::string line;  // "ACCEPT 127.0.0.1:43210"
  for (char text[256]; !line.starts_with("ACCEPT") && std::fgets(text, sizeof text, encrypted.get()) != nullptr;)
    line = text;
  ASSERT_THAT(line, StartsWith("ACCEPT"));
  const std::string port = line.substr(line.rfind(':') + 1, line.find('\n') - line.rfind(':') - 1);
  EXPECT_THAT([&] { fetch("https://127.0.0.1:" + port + "/x.tar"); },
              ThrowsMessage<Error>(HasSubstr("Unsupported protocol")));
  EXPECT_THAT(plain.requests(), SizeIs(1));
}

TEST_F(Remote, LocalPathsAreNotRedactedLikeUrls) {
  const fs::path shard = folder_.path() / "me@here#1?.tar";
  test::write(shard, content_);
  EXPECT_THAT(open_dataset(shard.string())->get(0).key, StartsWith(shard.string() + ":"));
}

std::string header(const std::string& request, const std::string& name) {
  const std::size_t begin = request.find("\r\n" + name + ": ") + name.size() + 4;
  return request.substr(begin, request.find("\r\n", begin) - begin);
}

std::string signature_of(const std::string& request) {
  const std::string authorization = header(request, "Authorization");
  return authorization.substr(authorization.find("Signature=") + 10);
}

/// The Signature Version 4 of the request as received, computed by Python's hmac.
std::string expected_signature(const std::string& request, const std::string& secret) {
  TemporaryFolder folder;
  test::write(folder.path() / "request", request);
  test::write(folder.path() / "sign.py", R"python(import hashlib, hmac, pathlib, re, sys
lines = pathlib.Path(sys.argv[1]).read_bytes().decode().split("\r\n")
method, path, _ = lines[0].split(" ")
headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:] if line)}
scope, signed = re.search("Credential=[^/]*/([^,]*), *SignedHeaders=([^,]*)", headers["authorization"]).groups()
canonical = "\n".join([method, path, "", *(f"{name}:{headers[name]}" for name in signed.split(";")), "", signed,
                       headers["x-amz-content-sha256"]])
to_sign = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
key = b"AWS4" + sys.argv[2].encode()
for part in [*scope.split("/"), to_sign]:
    key = hmac.new(key, part.encode(), hashlib.sha256).digest()
print(key.hex(), end="")
)python");
  const std::string command =
      fmt::format("python3 {0}/sign.py {0}/request {1} > {0}/signature", folder.path().string(), secret);
  EXPECT_EQ(std::system(command.c_str()), 0);
  return read_file(folder.path() / "signature");
}

TEST_F(Remote, RequestsToS3AreSigned) {
  HttpServer server([&](const std::string&) { return response("200 OK", "", content_); });
  const auto forget_credentials = [] {
    for (const char* name : {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
                             "AWS_REGION", "AWS_DEFAULT_REGION"})
      ::unsetenv(name);
  };
  forget_credentials();
  ::setenv("AWS_ENDPOINT_URL", server.url("").c_str(), 1);
  EXPECT_EQ(fetch("s3://bucket/some/x.tar"), content_);
  EXPECT_THAT(server.requests().back(),
              AllOf(StartsWith("GET /bucket/some/x.tar HTTP"), Not(HasSubstr("Authorization"))));
  ::setenv("AWS_ACCESS_KEY_ID", "the-key", 1);
  ::setenv("AWS_SECRET_ACCESS_KEY", "the-secret", 1);
  ::setenv("AWS_SESSION_TOKEN", "the-token", 1);
  ::setenv("AWS_DEFAULT_REGION", "eu-west-1", 1);
  EXPECT_EQ(fetch("s3://bucket/some/x.tar"), content_);
  EXPECT_THAT(server.requests().back(), HasSubstr("/eu-west-1/s3/aws4_request"));
  ::setenv("AWS_REGION", "eu-south-1", 1);
  EXPECT_EQ(fetch("s3://bucket/some/x.tar"), content_);
  EXPECT_THAT(server.requests().back(),
              AllOf(HasSubstr("/eu-south-1/s3/aws4_request"), HasSubstr("x-amz-security-token: the-token"),
                    Not(HasSubstr("the-secret"))));
  EXPECT_EQ(signature_of(server.requests().back()), expected_signature(server.requests().back(), "the-secret"));
  EXPECT_EQ(fetch("s3://bucket/a b/c=d+e,(f)~\xc3\xa9%41.tar"), content_);
  EXPECT_THAT(server.requests().back(), StartsWith("GET /bucket/a%20b/c%3Dd%2Be%2C%28f%29~%C3%A9%2541.tar HTTP"));
  EXPECT_EQ(signature_of(server.requests().back()), expected_signature(server.requests().back(), "the-secret"));
  HttpServer elsewhere([&](const std::string&) { return response("400 Bad Request", "", "AuthorizationHeader…"); });
  ::setenv("AWS_ENDPOINT_URL", elsewhere.url("").c_str(), 1);
  EXPECT_THAT([&] { fetch("s3://bucket/x.tar"); },
              ThrowsMessage<HttpError>(HasSubstr("HTTP 400 (is AWS_REGION the bucket's")));
  forget_credentials();
}

/// A data set fetches the shards that it is told will be needed.
TEST_F(Remote, ShardsAreFetchedBeforeTheirSamplesAreAskedFor) {
  HttpServer server([&](const std::string& request) {
    if (request.starts_with("GET /set/sizes.json")) return response("200 OK", "", R"({"a.tar": 5, "b.tar": 5})");
    return request.find(".tar") == std::string::npos ? not_there : response("200 OK", "", content_);
  });
  const auto asked_for = [&](const char* file) {
    for (const std::string& request : server.requests())
      if (request.starts_with(std::string("GET /set/") + file)) return true;
    return false;
  };
  const auto data = open_datasets({{test::golden("data/gnu.tar").string()}, {server.url("/set/{a,b}.tar")}});
  const std::size_t local = data->size() - 10;
  data->get(local);  // of the first shard
  EXPECT_FALSE(asked_for("b.tar"));
  data->prefetch({0, local + 5});
  for (int tries = 0; tries < 1000 && !asked_for("b.tar"); ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(asked_for("b.tar"));
}

TEST_F(Remote, TheLastUsedFilesAreKept) {
  HttpServer server([&](const std::string& request) { return response("200 OK", "", request.substr(0, 8)); });
  const fs::path cache = folder_.path() / "files";
  RemoteFiles files(cache, 2);
  for (const char* name : {"/a", "/b", "/c"}) EXPECT_EQ(files.open(server.url(name))->read(4, 2), name);
  const auto here = [&] {
    std::ptrdiff_t count = 0;
    for (const auto& entry : fs::directory_iterator(cache)) count += entry.path().extension() != ".lock";
    return count;
  };
  EXPECT_EQ(here(), 2);
  EXPECT_EQ(files.open(server.url("/c"))->read(4, 2), "/c");
  EXPECT_THAT(server.requests(), SizeIs(3));
  EXPECT_EQ(files.open(server.url("/a"))->read(4, 2), "/a");  // had been dropped
  EXPECT_THAT(server.requests(), SizeIs(4));
}

TEST_F(Remote, FilesArePrefetchedByOnlyOneProcess) {
  HttpServer server([&](const std::string&) { return response("200 OK", "", content_); });
  const fs::path cache = folder_.path() / "files";
  RemoteFiles one(cache), other(cache);
  const std::vector<std::string> urls = {server.url("/a"), server.url("/b")};
  one.prefetch(urls);
  other.prefetch(urls);
  for (const std::string& url : urls) {
    EXPECT_EQ(one.open(url)->size(), content_.size());
    EXPECT_EQ(other.open(url)->size(), content_.size());
  }
  EXPECT_THAT(server.requests(), SizeIs(2));
}

TEST_F(Remote, SetsAndFilesOfTheSameNamesAreKeptApart) {
  HttpServer server([&](const std::string& request) { return response("200 OK", "", request.substr(4, 8)); });
  RemoteFiles files(folder_.path() / "files");
  EXPECT_EQ(files.open(server.url("/x/00.tar"))->read(0, 2), "/x");
  EXPECT_EQ(files.open(server.url("/y/00.tar"))->read(0, 2), "/y");
}

/// Kept counts of another set with as many shards, or damaged ones, must not be used.
TEST_F(Remote, CachedCountsOfAnotherSetAreNotUsed) {
  const std::string gnu = read_file(test::golden("data/gnu.tar"));
  HttpServer server([&](const std::string& request) {
    if (request.find(".tar") == std::string::npos) return not_there;
    return response("200 OK", "", request.starts_with("GET /one/") ? content_ : gnu);
  });
  const std::size_t of_one = open_dataset(test::golden("data/ustar.tar").string())->size(),
                    of_two = open_dataset(test::golden("data/gnu.tar").string())->size();
  ASSERT_NE(of_one, of_two);
  EXPECT_EQ(open_dataset(server.url("/one/{a,b}.tar"))->size(), 2 * of_one);
  EXPECT_EQ(open_dataset(server.url("/two/{a,b}.tar"))->size(), 2 * of_two);
  int kept = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder_.path()))
    if (entry.path().string().ends_with(".sizes.json")) test::write(entry.path(), "[3,3,3]"), ++kept;
  EXPECT_EQ(kept, 2);
  EXPECT_EQ(open_dataset(server.url("/one/{a,b}.tar"))->size(), 2 * of_one);
}

TEST_F(Remote, NoTemporaryFileIsLeft) {
  const fs::path temporary = folder_.path() / "tmp";
  fs::create_directories(temporary);
  ::setenv("TMPDIR", temporary.c_str(), 1);
  HttpServer server([&](const std::string& request) {
    const bool table = request.find("sizes.json") != std::string::npos;
    return response("200 OK", "", table ? R"({"a.tar": 5})" : content_);
  });
  open_dataset(server.url("/set/a.tar"));
  ::unsetenv("TMPDIR");
  EXPECT_TRUE(fs::is_empty(temporary));
}

TEST_F(Remote, PrefetchedFilesAreNotDroppedFirst) {
  HttpServer server([&](const std::string& request) { return response("200 OK", "", request.substr(0, 8)); });
  RemoteFiles files(folder_.path() / "files", 2);
  const auto a_moment = [] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); };  // files' times differ
  for (const char* name : {"/a", "/b"}) files.open(server.url(name)), a_moment();
  files.prefetch({server.url("/a")});
  a_moment();
  files.open(server.url("/c"));
  files.open(server.url("/a"));
  EXPECT_THAT(server.requests(), SizeIs(3)) << "/b was dropped, not /a";
}

TEST_F(Remote, OversizedFilesAreRefused) {
  HttpServer server([&](const std::string&) { return response("200 OK", "", content_); });
  const fs::path file = folder_.path() / "file";
  EXPECT_THAT([&] { download(server.url("/x.tar"), file, stop_, 1000); },
              ThrowsMessage<Error>(HasSubstr("more than 1000 bytes")));
  EXPECT_FALSE(fs::exists(file));
}

/// A quota or a limit is no full disk.
TEST_F(Remote, AFailedWriteNamesTheFileAndTheReason) {
  HttpServer server([&](const std::string&) { return response("200 OK", "", content_); });
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 1000;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string message;
  try {
    fetch(server.url("/x.tar"));
  } catch (const Error& error) {
    message = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(message, fmt::format("{}: {}: cannot be written: File too large", server.url("/x.tar"),
                                 (folder_.path() / "file").string()));
}

}  // namespace
}  // namespace gondola
