#include "torch_towers/recompute.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include "torch_towers/autocast.h"

namespace gondola {
namespace {

struct Body : torch::CustomClassHolder {
  std::function<at::Tensor(const at::Tensor&)> call;
  bool autocast = false;
};

class Recompute : public torch::autograd::Function<Recompute> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const c10::intrusive_ptr<Body>& body) {
    context->save_for_backward({x});
    context->saved_data["body"] = at::IValue::make_capsule(body);
    return body->call(x);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto body = c10::static_intrusive_pointer_cast<Body>(context->saved_data["body"].toCapsule());
    const auto x = context->get_saved_variables()[0].detach().requires_grad_(true);
    const auto device = x.device().type();
    at::Tensor y;
    {
      const at::AutoGradMode with_gradients(true);
      const Autocast autocast(body->autocast, device);
      y = body->call(x);
    }
    torch::autograd::backward({y}, {gradients[0]});  // accumulates the parameters' gradients
    return {x.grad(), {}};
  }
};

}  // namespace

at::Tensor recompute_in_backward(const std::function<at::Tensor(const at::Tensor&)>& body, const at::Tensor& x) {
  if (!at::GradMode::is_enabled() || !x.requires_grad()) return body(x);
  const auto holder = c10::make_intrusive<Body>();
  holder->call = body;
  holder->autocast = at::autocast::is_autocast_enabled(x.device().type());
  return Recompute::apply(x, holder);
}

}  // namespace gondola
