#pragma once

#include "train/loss.h"

namespace gondola {

/// MobileCLIP's distillation loss (arXiv 2311.17049): how far the student's similarities of all ranks' N pairs are from
/// the teacher's. It is the mean of two Kullback-Leibler divergences: of the softmax over texts, averaged over images,
/// and of the softmax over images, averaged over texts.
///
/// `student` and `teacher` are features of the same pairs. Of the teacher's, only images and texts are used; they may
/// have any width and get no gradients. `teacher_scale` is exp(its logit_scale). The returned value and its gradients
/// are as in contrastive_loss. Memory grows with N × dim, since the texts of all ranks are gathered.
at::Tensor distillation_loss(const Features& student, const Features& teacher, const at::Tensor& logit_scale,
                             double teacher_scale, Communicator& communicator, std::optional<Tile> tile = {});

}  // namespace gondola
