#pragma once

namespace gondola::test {

/// From now on the AMX instructions that the kernels use (palette 1, tdpbf16ps, tdpbusd) work on a processor without
/// them too: each raises SIGILL, whose handler does what it stands for. So the very code is tested that is shipped. An
/// instruction that a real processor would refuse ends the program with a message.
void emulate_amx();

}  // namespace gondola::test
