#pragma once

#if __cplusplus < 202002L
#error "Gondola's headers need C++20"
#endif

/// Marks what libgondola exports; everything else in it is hidden.
#define GONDOLA_API __attribute__((visibility("default")))
