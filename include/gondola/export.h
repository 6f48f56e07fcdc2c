#pragma once

/// Marks what libgondola exports; everything else in it is hidden.
#define GONDOLA_API __attribute__((visibility("default")))
