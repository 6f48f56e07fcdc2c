#include "torch_towers/device.h"

#include <gmock/gmock.h>

#include "base/error.h"

namespace gondola {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(FindDevice, KnowsTheCpu) {
  EXPECT_TRUE(find_device("cpu").is_cpu());
}

TEST(FindDevice, RefusesUnknownDevicesAndMissingGpus) {
  for (const char* name : {"", "gpu", "cpu:1", "cuda:x", "cuda:256", "meta", "mps", "xpu"})
    EXPECT_THAT([&] { find_device(name); },
                ThrowsMessage<Error>(HasSubstr("device " + std::string(name) + ": expected cpu, cuda or cuda:N")));
  EXPECT_THAT([] { find_device("cuda:99"); },
              ThrowsMessage<Error>(testing::AnyOf(HasSubstr("finds no GPU"), HasSubstr("the last of"))));
}

}  // namespace
}  // namespace gondola
