// Binds the attention kernels: the CPU's, and the GPU's where it is built.
#include "attention/attention_cpu.h"
#include "bindings.h"
#ifdef NEGKERNEL_CUDA
#include "attention/attention_cuda.h"
#endif

namespace negkernel {

namespace {

// Prefixes are packed, and an attention task takes consecutive rows of one prompt.
void check_packing(const std::int64_t* start, std::int64_t P, std::int64_t T,
                   const std::int64_t* row_prompt, std::int64_t R) {
  if (start[0] < 0 || start[P] > T) {
    throw py::index_error("prefix_start reaches outside the " + std::to_string(T) +
                          " prefix tokens");
  }
  for (std::int64_t p = 0; p < P; ++p) {
    if (start[p] > start[p + 1]) throw py::value_error("prefix_start must not descend");
  }
  for (std::int64_t row = 1; row < R; ++row) {
    if (row_prompt[row - 1] > row_prompt[row]) {
      throw py::value_error("row_prompt must not descend: sort the rows by prompt");
    }
  }
}

}  // namespace

void bind_attention(py::module_& m, void (*run)(const AttentionArgs&)) {
  m.def(
      "attention",
      [run](Address q, Address k, Address v, Address dq, Address dk, Address dv, Address prefix_k,
            Address prefix_v, Address prefix_start, Address row_prompt, Address dout,
            std::int64_t P, std::int64_t R, std::int64_t T, std::int64_t Hq, std::int64_t Hkv,
            std::int64_t D, float scale, float softcap, int num_threads) {
        AttentionArgs args;
        args.q = at<const float>(q);
        args.k = at<const float>(k);
        args.v = at<const float>(v);
        args.dq = at<const float>(dq);
        args.dk = at<const float>(dk);
        args.dv = at<const float>(dv);
        args.prefix_k = at<const float>(prefix_k);
        args.prefix_v = at<const float>(prefix_v);
        args.prefix_start = at<const std::int64_t>(prefix_start);
        args.row_prompt = prompts(row_prompt, R, P);
        args.dout = at<float>(dout);
        args.P = P;
        args.R = R;
        args.Hq = Hq;
        args.Hkv = Hkv;
        args.D = D;
        args.scale = scale;
        args.softcap = softcap;
        args.num_threads = num_threads;
        check_packing(args.prefix_start, P, T, args.row_prompt, R);
        py::gil_scoped_release release;
        run(args);
      },
      "q"_a, "k"_a, "v"_a, "dq"_a, "dk"_a, "dv"_a, "prefix_k"_a, "prefix_v"_a, "prefix_start"_a,
      "row_prompt"_a, "dout"_a, py::kw_only(), "P"_a, "R"_a, "T"_a, "Hq"_a, "Hkv"_a, "D"_a,
      "scale"_a, "softcap"_a, "num_threads"_a, "Write dout [R, Hq, D]; softcap 0 is none.");
}

#ifdef NEGKERNEL_CUDA
void bind_attention_cuda(py::module_& m) {
  m.def(
      "attention",
      [](Address q, Address k, Address v, Address dq, Address dk, Address dv, Address prefix_k,
         Address prefix_v, Address prefix_start, Address row_prompt, Address score,
         Address score_self, Address log_sum, Address o, Address dout, std::int64_t P,
         std::int64_t R, std::int64_t T, int Hq, int Hkv, int D, float scale, float softcap,
         std::uintptr_t stream) {
        cuda::AttentionArgs args;
        args.q = at<const float>(q);
        args.k = at<const float>(k);
        args.v = at<const float>(v);
        args.dq = at<const float>(dq);
        args.dk = at<const float>(dk);
        args.dv = at<const float>(dv);
        args.prefix_k = at<const float>(prefix_k);
        args.prefix_v = at<const float>(prefix_v);
        args.prefix_start = at<const std::int64_t>(prefix_start);
        args.row_prompt = at<const std::int64_t>(row_prompt);
        args.score = at<float>(score);
        args.score_self = at<float>(score_self);
        args.log_sum = at<float>(log_sum);
        args.o = at<float>(o);
        args.dout = at<float>(dout);
        args.P = P;
        args.R = R;
        args.T = T;
        args.Hq = Hq;
        args.Hkv = Hkv;
        args.D = D;
        args.scale = scale;
        args.softcap = softcap;
        py::gil_scoped_release release;
        cuda::attention(args, stream);
      },
      "q"_a, "k"_a, "v"_a, "dq"_a, "dk"_a, "dv"_a, "prefix_k"_a, "prefix_v"_a, "prefix_start"_a,
      "row_prompt"_a, "score"_a, "score_self"_a, "log_sum"_a, "o"_a, "dout"_a, py::kw_only(), "P"_a,
      "R"_a, "T"_a, "Hq"_a, "Hkv"_a, "D"_a, "scale"_a, "softcap"_a, "stream"_a,
      "Enqueue on a cudaStream_t what writes dout [R, Hq, D]; softcap 0 is none.");
}
#endif

}  // namespace negkernel
