// Binds the logprob kernels: the CPU's, and the GPU's where it is built.
#include "bindings.h"
#include "logprob/logprob_cpu.h"
#ifdef NEGKERNEL_CUDA
#include "logprob/logprob_cuda.h"
#endif

namespace negkernel {

void bind_logprob(py::module_& m, void (*run)(const LogprobArgs&)) {
  m.def(
      "logprob",
      [run](Address dz, Address base_logprob, Address targets, Address row_prompt, Address sums,
            Address dz_target, std::int64_t P, std::int64_t R, std::int64_t V, std::int64_t K,
            std::int64_t start, std::int64_t width, int num_threads) {
        LogprobArgs args;
        args.dz = at<const float>(dz);
        args.base_logprob = at<const float>(base_logprob);
        args.targets = at<const std::int64_t>(targets);
        args.row_prompt = prompts(row_prompt, R, P);
        args.sums = at<double>(sums);
        args.dz_target = at<float>(dz_target);
        args.P = P;
        args.R = R;
        args.V = V;
        args.K = K;
        args.start = start;
        args.width = width;
        args.num_threads = num_threads;
        py::gil_scoped_release release;
        run(args);
      },
      "dz"_a, "base_logprob"_a, "targets"_a, "row_prompt"_a, "sums"_a, "dz_target"_a, py::kw_only(),
      "P"_a, "R"_a, "V"_a, "K"_a, "start"_a, "width"_a, "num_threads"_a,
      "Add one vocabulary tile to sums [R, 3] float64 and fill dz_target [R, K].");
}

#ifdef NEGKERNEL_CUDA
void bind_logprob_cuda(py::module_& m) {
  m.def(
      "logprob",
      [](Address dz, Address base_logprob, Address base_logits, Address targets, Address row_prompt,
         Address sums, Address dz_target, std::int64_t R, std::int64_t V, std::int64_t K,
         std::int64_t start, std::int64_t width, float scale, float softcap,
         std::uintptr_t stream) {
        cuda::LogprobArgs args;
        args.dz = at<const float>(dz);
        args.base_logprob = at<const float>(base_logprob);
        args.base_logits = at<const float>(base_logits);
        args.targets = at<const std::int64_t>(targets);
        args.row_prompt = at<const std::int64_t>(row_prompt);
        args.sums = at<double>(sums);
        args.dz_target = at<float>(dz_target);
        args.R = R;
        args.V = V;
        args.K = K;
        args.start = start;
        args.width = width;
        args.scale = scale;
        args.softcap = softcap;
        py::gil_scoped_release release;
        cuda::logprob(args, stream);
      },
      "dz"_a, "base_logprob"_a, "base_logits"_a, "targets"_a, "row_prompt"_a, "sums"_a,
      "dz_target"_a, py::kw_only(), "R"_a, "V"_a, "K"_a, "start"_a, "width"_a, "scale"_a,
      "softcap"_a, "stream"_a,
      "Enqueue what adds one vocabulary tile to sums [R, 3] float64 and fills dz_target [R, K].");
}
#endif

}  // namespace negkernel
