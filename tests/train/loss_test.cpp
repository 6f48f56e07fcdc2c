#include "train/loss.h"

#include <ATen/autocast_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "tests/train/peak_memory.h"
#include "tests/train/ranks.h"

namespace gondola {
namespace {

using test::relative_error;

/// Thirteen images with one or more of eight texts each, spread over ranks of unequal sizes. Equal texts share a row
/// within a rank; on other ranks their features differ, as under dropout.
class Batch13 {
 public:
  static constexpr std::int64_t images = 13, dim = 6;

  Batch13(int ranks, double scale, std::int64_t texts_each = 1) {
    torch::manual_seed(3);
    const std::vector<std::int64_t> text_of = {0, 1, 2, 1, 3, 1, 2, 4, 0, 5, 1, 6, 7};
    for (int rank = 0; rank < ranks; ++rank) {
      const std::int64_t first = rank * images / ranks, last = (rank + 1) * images / ranks;
      std::vector<std::int64_t> keys, caption;
      for (std::int64_t i = texts_each * first; i < texts_each * last; ++i) {
        const std::int64_t key = text_of[static_cast<std::size_t>(i % images)] * 0x123456789abcdefL;
        const auto row = std::find(keys.begin(), keys.end(), key) - keys.begin();
        if (row == std::ssize(keys)) keys.push_back(key);
        caption.push_back(row);
      }
      ranks_.push_back({unit(last - first), unit(std::ssize(keys)), torch::tensor(caption).view({-1, texts_each}),
                        torch::tensor(keys)});
    }
    logit_scale = torch::tensor(std::log(scale), torch::kDouble);
    logit_bias = torch::tensor(-1.5, torch::kDouble);
  }

  /// The features rounded to `type`, as leaves of type `leaf`.
  Batch13 in(torch::ScalarType type, torch::ScalarType leaf) const {
    Batch13 batch = *this;
    const auto converted = [&](const at::Tensor& x) { return x.to(type).to(leaf).detach().requires_grad_(true); };
    for (Features& rank : batch.ranks_) {
      rank.images = converted(rank.images);
      rank.texts = converted(rank.texts);
    }
    batch.logit_scale = converted(logit_scale);
    batch.logit_bias = converted(logit_bias);
    return batch;
  }

  std::vector<Features> ranks_;
  at::Tensor logit_scale, logit_bias;

 private:
  static at::Tensor unit(std::int64_t rows) {
    const auto x = torch::randn({rows, dim}, torch::kDouble);
    return x / x.norm(2, 1, true);
  }
};

struct LossAndGradients {
  at::Tensor loss;
  std::vector<at::Tensor> d_images, d_texts;  ///< of each rank
  at::Tensor d_scale, d_bias;
};

/// The losses by definition, over the whole matrix of all images and all their texts.
LossAndGradients reference(const Batch13& batch, const LossOptions& options) {
  std::vector<at::Tensor> images, texts, keys;
  for (const Features& rank : batch.ranks_) {
    images.push_back(rank.images);
    texts.push_back(rank.texts.index_select(0, rank.caption.flatten()));
    keys.push_back(rank.text_keys.take(rank.caption.flatten()));
  }
  const auto key = torch::cat(keys);
  const std::int64_t n = Batch13::images, k = key.size(0) / n;
  auto same = torch::eye(n * k, torch::kDouble);  // texts
  if (options.soft_targets) same = (key.unsqueeze(1) == key).to(torch::kDouble);
  const auto target = (same / same.sum(1, true)).view({n, k, n * k}).mean(1);
  const auto logits = batch.logit_scale.exp() * torch::matmul(torch::cat(images), torch::cat(texts).t());
  at::Tensor loss;
  if (options.sigmoid) {
    const auto positive = (target > 0).to(torch::kDouble);
    loss = -((2 * positive - 1) * (logits + batch.logit_bias)).sigmoid().log().sum() / (n * k);
  } else {
    const auto lse_over_texts = (logits.exp() / k).sum(1, true).log();
    loss = -(target * (logits - lse_over_texts + logits.log_softmax(0))).sum() / (2 * n);
  }
  loss.backward();
  LossAndGradients found = {loss.detach(), {}, {}, batch.logit_scale.grad(), batch.logit_bias.grad()};
  for (const Features& rank : batch.ranks_) {
    found.d_images.push_back(rank.images.grad());
    found.d_texts.push_back(rank.texts.grad());
  }
  return found;
}

/// Runs each rank on its own thread, and sums the gradients of scale and bias over ranks.
LossAndGradients by_ranks(const Batch13& batch, const LossOptions& options) {
  const auto size = batch.ranks_.size();
  std::vector<at::Tensor> losses(size), d_images(size), d_texts(size), d_scale(size), d_bias(size);
  test::on_ranks(static_cast<int>(size), [&](Communicator& communicator) {
    const auto i = static_cast<std::size_t>(communicator.rank());
    const Features& features = batch.ranks_[i];
    const auto scale = batch.logit_scale.detach().requires_grad_(true);
    const auto bias = batch.logit_bias.detach().requires_grad_(true);
    const auto loss = contrastive_loss(features, scale, bias, options, communicator);
    loss.backward();
    losses[i] = loss.detach();
    d_images[i] = features.images.grad();
    d_texts[i] = features.texts.grad();
    d_scale[i] = scale.grad();
    d_bias[i] = bias.grad();
  });
  for (const at::Tensor& loss : losses) EXPECT_TRUE(loss.equal(losses[0]));
  return {losses[0], d_images, d_texts, torch::stack(d_scale).sum(0),
          options.sigmoid ? torch::stack(d_bias).sum(0) : at::Tensor()};
}

void expect_near(const LossAndGradients& found, const LossAndGradients& expected, double tolerance) {
  EXPECT_LT(relative_error(found.loss, expected.loss), tolerance);
  for (std::size_t rank = 0; rank < expected.d_images.size(); ++rank) {
    EXPECT_LT(relative_error(found.d_images[rank], expected.d_images[rank]), tolerance) << "rank " << rank;
    EXPECT_LT(relative_error(found.d_texts[rank], expected.d_texts[rank]), tolerance) << "rank " << rank;
  }
  EXPECT_LT(relative_error(found.d_scale, expected.d_scale), tolerance);
  if (expected.d_bias.defined()) {
    EXPECT_LT(relative_error(found.d_bias, expected.d_bias), tolerance);
  }
}

class ContrastiveLoss : public testing::TestWithParam<int> {
 protected:
  /// Checks both losses and kinds of targets, a low and a high scale, one text per image and several.
  void for_each_mode(const std::function<void(const Batch13&, const LossOptions&)>& check) {
    for (const bool sigmoid : {false, true})
      for (const bool soft_targets : {false, true})
        for (const double scale : {3.7, 100.})
          for (const int texts_each : {1, 3}) {
            SCOPED_TRACE(fmt::format("{}, {} targets, scale {}, texts {}", sigmoid ? "sigmoid" : "softmax",
                                     soft_targets ? "soft" : "hard", scale, texts_each));
            check(Batch13(GetParam(), scale, texts_each), {sigmoid, soft_targets, Tile{3, 2}});
          }
  }
};

TEST_P(ContrastiveLoss, MatchesTheWholeMatrixInLossAndGradients) {
  for_each_mode([](const Batch13& batch, const LossOptions& options) {
    const auto expected = reference(batch.in(torch::kDouble, torch::kDouble), options);
    expect_near(by_ranks(batch.in(torch::kDouble, torch::kDouble), options), expected, 1e-10);
    LossOptions untiled = options;
    untiled.tile.reset();
    expect_near(by_ranks(batch.in(torch::kDouble, torch::kDouble), untiled), expected, 1e-10);
    expect_near(by_ranks(batch.in(torch::kFloat, torch::kFloat), options),
                reference(batch.in(torch::kFloat, torch::kDouble), options), 1e-5);
  });
}

/// Features are rounded to bf16, but not the logits: bf16 would keep no fraction of those near 100.
TEST_P(ContrastiveLoss, StaysAccurateForFeaturesInBf16) {
  for_each_mode([](const Batch13& batch, const LossOptions& options) {
    const auto expected = reference(batch.in(torch::kBFloat16, torch::kDouble), options);
    const auto found = by_ranks(batch.in(torch::kBFloat16, torch::kFloat), options);
    EXPECT_LT(relative_error(found.loss, expected.loss), 1e-5);
    expect_near(found, expected, 4e-3);
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, ContrastiveLoss, testing::Values(1, 2, 4), testing::PrintToStringParamName());

TEST(ContrastiveLossAlone, IsInFp32UnderAutocast) {
  const Batch13 batch = Batch13(1, 100).in(torch::kFloat, torch::kFloat);
  const auto expected = by_ranks(batch.in(torch::kFloat, torch::kFloat), {});
  at::autocast::set_autocast_enabled(at::kCPU, true);
  Communicator alone;
  const auto loss = contrastive_loss(batch.ranks_[0], batch.logit_scale, {}, {}, alone);
  loss.backward();
  at::autocast::set_autocast_enabled(at::kCPU, false);
  EXPECT_TRUE(loss.equal(expected.loss));
  EXPECT_TRUE(batch.ranks_[0].images.grad().equal(expected.d_images[0]));
}

TEST(ContrastiveLossAlone, UsesMemoryLinearInTheBatchSize) {
  constexpr std::int64_t dim = 16;
  const auto peak_of = [](std::int64_t batch, bool sigmoid) {
    const auto unit = torch::ones({batch, dim}) / 4, rows = torch::arange(batch, torch::kLong);
    const auto images = unit.clone().requires_grad_(true), texts = unit.clone().requires_grad_(true);
    const auto scale = torch::zeros({}).requires_grad_(true), bias = torch::zeros({}).requires_grad_(true);
    Communicator alone;
    return test::peak_memory([&] {
      contrastive_loss({images, texts, rows.unsqueeze(1), rows}, scale, bias, {sigmoid, true, Tile{64, 64}}, alone)
          .backward();
    });
  };
  for (const bool sigmoid : {false, true}) {
    const std::int64_t features = 2 * 4096 * dim * 4, peak = peak_of(4096, sigmoid);
    EXPECT_GT(peak, features);  // their gradients: the measure works
    EXPECT_LT(peak, 3 * features);
    EXPECT_LT(peak, 2.1 * peak_of(2048, sigmoid));
  }
}

}  // namespace
}  // namespace gondola
