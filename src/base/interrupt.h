#pragma once

namespace gondola {

/// From here on SIGINT and SIGTERM only set a flag, so that long work can stop cleanly; a second one kills as usual.
void catch_interrupts();

/// Whether such a signal has arrived.
bool interrupted();

}  // namespace gondola
