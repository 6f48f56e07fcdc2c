#pragma once

#include <memory>

#include "text/clip_tokenizer.h"
#include "torch_towers/clip_model.h"
#include "train/loader.h"
#include "train/loss.h"

namespace gondola {

/// The model of [teacher], whose similarities the student learns as well. It sees the student's pixels (all patches)
/// and tokens, runs in evaluation mode, and does not learn.
class Teacher {
 public:
  /// Loads the teacher onto the recipe's device; all ranks use rank 0's weights. Throws Error when the teacher takes
  /// images of another size, or texts of another length or vocabulary, than the recipe's model.
  Teacher(const Recipe& recipe, const ClipTokenizer& tokenizer, Communicator& communicator);

  /// Encodes a batch, a micro-batch at a time: normalised features of images and texts alone, without gradients.
  Features encode(const Batch& batch) const;

  /// exp(its logit_scale).
  double scale() const { return scale_; }

 private:
  const Recipe& recipe_;
  std::shared_ptr<ClipModel> model_;
  at::Tensor pixel_factor_, pixel_offset_;  ///< from the student's normalisation of pixels to the teacher's
  double scale_ = 0;
};

}  // namespace gondola
