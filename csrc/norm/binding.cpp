// Binds the norm kernel.
#include "bindings.h"
#include "norm/norm_cpu.h"

namespace negkernel {

void bind_norm(py::module_& m, void (*run)(const NormArgs&)) {
  m.def(
      "norm",
      [run](Address x, Address d, Address branch, Address weight, Address row_prompt, Address dn,
            std::int64_t P, std::int64_t R, std::int64_t heads, std::int64_t H, float eps,
            bool layer, int num_threads) {
        NormArgs args;
        args.x = at<const float>(x);
        args.d = at<float>(d);
        args.branch = at<const float>(branch);
        args.weight = at<const float>(weight);
        args.row_prompt = prompts(row_prompt, R, P);
        args.dn = at<float>(dn);
        args.P = P;
        args.R = R;
        args.heads = heads;
        args.H = H;
        args.eps = eps;
        args.layer = layer;
        args.num_threads = num_threads;
        py::gil_scoped_release release;
        run(args);
      },
      "x"_a, "d"_a, "branch"_a, "weight"_a, "row_prompt"_a, "dn"_a, py::kw_only(), "P"_a, "R"_a,
      "heads"_a, "H"_a, "eps"_a, "layer"_a, "num_threads"_a,
      "Add branch to d in place and write dn [R, heads, H]; branch and weight may be 0.");
}

}  // namespace negkernel
