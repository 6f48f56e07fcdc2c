#include "torch_towers/torch_encoder.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "tests/support/models.h"

namespace gondola {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using testing::ThrowsMessage;

/// A token outside the vocabulary, and pixels that do not make a whole image.
TEST(TorchEncoder, TurnsPyTorchsExceptionsIntoErrors) {
  const ModelFiles files = test::golden_models().front().load();
  const auto encoder = make_torch_encoder(files.config, files.weights, "cpu", Precision::fp32);
  std::vector<float> embedding(static_cast<std::size_t>(files.config.embed_dim));
  const std::vector<std::int32_t> ids(static_cast<std::size_t>(files.config.text.context_length), 1 << 20);
  const auto of_pytorch = AllOf(StartsWith("device cpu: "), Not(HasSubstr("frame #")));
  EXPECT_THAT([&] { encoder->encode_texts(ids, embedding); }, ThrowsMessage<Error>(of_pytorch));
  EXPECT_THAT([&] { encoder->encode_images(std::vector<float>(5), embedding); }, ThrowsMessage<Error>(of_pytorch));
}

}  // namespace
}  // namespace gondola
