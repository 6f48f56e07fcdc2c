#pragma once

#if __cplusplus < 202002L
#error "Gondola's headers need C++20"
#endif

/// Marks what libgondola exports; all its other symbols are hidden.
#define GONDOLA_API __attribute__((visibility("default")))
