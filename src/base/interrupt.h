#pragma once

namespace gondola {

/// Makes SIGINT, SIGTERM and, unless it is ignored, SIGHUP only set a flag, so that long work can stop cleanly; a
/// second SIGINT or SIGTERM kills the process as usual. Ignores SIGPIPE: writing to a pipe that nobody reads fails like
/// writing to a full disk.
void catch_interrupts();

/// Whether one of these signals has arrived.
bool interrupted();

/// Throws Error if one of them has.
void stop_if_interrupted();

}  // namespace gondola
