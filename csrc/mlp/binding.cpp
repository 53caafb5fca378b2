// Binds the elementwise kernel of the feed-forward layer.
#include "bindings.h"
#include "mlp/mlp_cpu.h"

namespace negkernel {

namespace {

Activation activation_from(const std::string& name) {
  if (name == "silu") return Activation::silu;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_tanh") return Activation::gelu_tanh;
  if (name == "relu") return Activation::relu;
  throw py::value_error("no kernel for activation " + name);
}

}  // namespace

void bind_mlp(py::module_& m, void (*run)(const MlpArgs&)) {
  m.def(
      "mlp",
      [run](Address gate, Address up, Address dgate, Address dup, Address row_prompt, Address dh,
            std::int64_t P, std::int64_t R, std::int64_t I, const std::string& activation,
            int num_threads) {
        MlpArgs args;
        args.gate = at<const float>(gate);
        args.up = at<const float>(up);
        args.dgate = at<const float>(dgate);
        args.dup = at<const float>(dup);
        args.row_prompt = prompts(row_prompt, R, P);
        args.dh = at<float>(dh);
        args.P = P;
        args.R = R;
        args.I = I;
        args.activation = activation_from(activation);
        args.num_threads = num_threads;
        py::gil_scoped_release release;
        run(args);
      },
      "gate"_a, "up"_a, "dgate"_a, "dup"_a, "row_prompt"_a, "dh"_a, py::kw_only(), "P"_a, "R"_a,
      "I"_a, "activation"_a, "num_threads"_a, "Write dh [R, I]; gate and dgate may be 0.");
}

}  // namespace negkernel
