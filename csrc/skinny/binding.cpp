// Binds the skinny kernel.
#include "bindings.h"
#include "skinny/skinny_cpu.h"

namespace negkernel {

void bind_skinny(py::module_& m, void (*run)(const SkinnyArgs&)) {
  m.def(
      "skinny",
      [run](Address y, Address weight, Address out, std::int64_t M, std::int64_t K, std::int64_t N,
            int num_threads) {
        SkinnyArgs args;
        args.y = at<const float>(y);
        args.weight = at<const float>(weight);
        args.out = at<float>(out);
        args.M = M;
        args.K = K;
        args.N = N;
        args.num_threads = num_threads;
        py::gil_scoped_release release;
        run(args);
      },
      "y"_a, "weight"_a, "out"_a, py::kw_only(), "M"_a, "K"_a, "N"_a, "num_threads"_a,
      "Write out [M, N] = y [M, K] weight [K, N].");
}

}  // namespace negkernel
