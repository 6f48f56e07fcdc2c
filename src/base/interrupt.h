#pragma once

namespace gondola {

/// From here on SIGINT, SIGTERM and SIGHUP (unless that is ignored) only set a flag, so that long work can stop
/// cleanly; a second SIGINT or SIGTERM kills as usual. A pipe that nobody reads any more fails to be written, as a full
/// disk does, and kills nobody.
void catch_interrupts();

/// Whether such a signal has arrived.
bool interrupted();

/// Throws Error once it has.
void stop_if_interrupted();

}  // namespace gondola
