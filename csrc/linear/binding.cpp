// Binds the linear kernel.
#include "bindings.h"
#include "linear/linear_cpu.h"

namespace negkernel {

void bind_linear(py::module_& m, void (*run)(const LinearArgs&)) {
  m.def(
      "linear",
      [run](Address x, Address weight, Address out, std::int64_t M, std::int64_t K, std::int64_t N,
            std::int64_t x_stride, std::int64_t weight_stride, bool transposed, bool half,
            int num_threads) {
        LinearArgs args;
        args.x = at<const float>(x);
        args.weight = at<const void>(weight);
        args.out = at<float>(out);
        args.M = M;
        args.K = K;
        args.N = N;
        args.x_stride = x_stride;
        args.weight_stride = weight_stride;
        args.transposed = transposed;
        args.half = half;
        args.num_threads = num_threads;
        py::gil_scoped_release release;
        run(args);
      },
      "x"_a, "weight"_a, "out"_a, py::kw_only(), "M"_a, "K"_a, "N"_a, "x_stride"_a,
      "weight_stride"_a, "transposed"_a, "half"_a, "num_threads"_a,
      "Write out [M, N] = x [M, K] weight [N, K]^T on bfloat16 operands; none of M, K, N is 0.");
}

}  // namespace negkernel
