#include "torch_towers/message_of.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace gondola {
namespace {

TEST(MessageOf, LeavesOutPyTorchsCallStacks) {
  EXPECT_EQ(message_of(std::runtime_error("no such file")), "no such file");
  try {
    TORCH_CHECK(false, "no memory\nfor this");
  } catch (const c10::Error& error) {
    EXPECT_EQ(message_of(error), "no memory for this");
    EXPECT_EQ(message_of(std::runtime_error(std::string("quoted: ") + error.what())), "quoted: no memory for this");
  }
}

}  // namespace
}  // namespace gondola
