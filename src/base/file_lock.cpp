#include "base/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace gondola {

FileLock::FileLock(std::filesystem::path path)
    : path_(std::move(path)), descriptor_(::open(path_.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644)) {
  if (descriptor_ < 0) fail("{}: cannot be written: {}", path_.string(), std::strerror(errno));
}

FileLock::~FileLock() {
  ::close(descriptor_);
}

bool FileLock::try_lock() {
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return true;
  if (errno != EWOULDBLOCK && errno != EINTR) fail("{}: cannot be locked: {}", path_.string(), std::strerror(errno));
  return false;
}

bool FileLock::try_lock_where_possible() {
  try {
    return try_lock();
  } catch (const Error&) {
    return true;
  }
}

}  // namespace gondola
