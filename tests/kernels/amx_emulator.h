#pragma once

namespace gondola::test {

/// From now on, emulates the AMX instructions that the kernels use (palette 1, tdpbf16ps, tdpbusd) on a processor that
/// lacks them: each raises SIGILL, and the handler does its work. So tests run the very code that ships. An instruction
/// that a real processor would refuse ends the program with a message.
void emulate_amx();

}  // namespace gondola::test
