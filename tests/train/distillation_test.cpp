#include "train/distillation.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "base/file.h"
#include "base/json.h"
#include "tests/support/files.h"
#include "tests/train/ranks.h"

namespace gondola {
namespace {

/// Pairs, and what PyTorch's own functions give for them in fp64 (tests/reference/train_parts.py): case 0 has one
/// caption per image, case 1 two.
struct Golden {
  explicit Golden(std::size_t number)
      : values(parse_json(read_file(test::golden("train/parts.json")), "parts.json").at("distillation")) {
    const Json own = values.at("cases").at(number);
    values.update(own);
  }
  at::Tensor tensor(const char* name) const {
    const Json& item = values.at(name);
    return torch::tensor(item.at("values").get<std::vector<double>>(), torch::kDouble)
        .view(item.at("shape").get<std::vector<std::int64_t>>());
  }
  double number(const char* name) const { return values.at(name).get<double>(); }
  Json values;
};

/// Pairs first … last − 1, with the texts that they need.
struct Pairs {
  Pairs(const Golden& golden, std::int64_t first, std::int64_t last) {
    const auto captions = golden.values.at("caption").get<std::vector<std::vector<std::int64_t>>>();
    std::vector<std::int64_t> rows;
    for (std::int64_t i = first; i < last; ++i) {
      for (const std::int64_t text : captions[static_cast<std::size_t>(i)]) {
        const auto found = std::find(keys.begin(), keys.end(), text);
        rows.push_back(found - keys.begin());
        if (found == keys.end()) keys.push_back(text);
      }
    }
    const auto caption = torch::tensor(rows, torch::kLong).view({last - first, -1});
    const auto key = torch::tensor(keys, torch::kLong);
    const auto features = [&](const char* images, const char* texts) {
      return Features{golden.tensor(images).narrow(0, first, last - first).contiguous(),
                      golden.tensor(texts).index_select(0, key), caption, key};
    };
    student = features("images", "texts");
    teacher = features("teacher_images", "teacher_texts");
    for (at::Tensor* input : {&student.images, &student.texts, &log_scale}) input->requires_grad_(true);
  }
  std::vector<std::int64_t> keys;
  Features student, teacher;
  at::Tensor log_scale = torch::tensor(1.3, torch::kDouble);
};

class Distillation : public testing::TestWithParam<std::tuple<int, std::size_t>> {};  // ranks, case

/// Ranks have different numbers of texts, and tiles only a few logits. A text that several ranks have gets the sum of
/// their gradients.
TEST_P(Distillation, IsTheDivergenceInBothDirections) {
  const int ranks = std::get<0>(GetParam());
  const Golden golden(std::get<1>(GetParam()));
  std::mutex mutex;
  auto d_texts = torch::zeros_like(golden.tensor("d_texts"));
  double d_scale = 0;
  test::on_ranks(ranks, [&](Communicator& communicator) {
    const std::int64_t first = 7 * communicator.rank() / ranks, last = 7 * (communicator.rank() + 1) / ranks;
    Pairs part(golden, first, last);
    const auto loss = distillation_loss(part.student, part.teacher, part.log_scale, golden.number("teacher_scale"),
                                        communicator, Tile{2, 3});
    EXPECT_NEAR(loss.item<double>(), golden.number("loss"), 1e-8);
    (loss * 3).backward();
    const auto d_images = golden.tensor("d_images").narrow(0, first, last - first);
    EXPECT_LT((part.student.images.grad() / 3 - d_images).abs().max().item<double>(), 1e-8);
    const std::lock_guard lock(mutex);
    d_texts.index_add_(0, torch::tensor(part.keys, torch::kLong), part.student.texts.grad() / 3);
    d_scale += part.log_scale.grad().item<double>() / 3;
  });
  EXPECT_LT((d_texts - golden.tensor("d_texts")).abs().max().item<double>(), 1e-8);
  EXPECT_NEAR(d_scale, golden.number("d_log_scale"), 1e-8);
}

INSTANTIATE_TEST_SUITE_P(Ranks, Distillation, testing::Combine(testing::Values(1, 2, 3), testing::Values(0, 1)));

TEST(DistillationLoss, IsZeroIfTheTeacherEqualsTheStudent) {
  const Golden golden(0);
  Pairs part(golden, 0, 7);
  Communicator alone;
  const auto loss = distillation_loss(part.student, part.student, part.log_scale, std::exp(1.3), alone);
  EXPECT_NEAR(loss.item<double>(), 0, 1e-12);
  loss.backward();
  EXPECT_LT(part.student.images.grad().abs().max().item<double>(), 1e-12);
}

}  // namespace
}  // namespace gondola
