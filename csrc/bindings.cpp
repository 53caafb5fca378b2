// Registers the kernels of every instruction set that the processor can run, one submodule each.
// Tensors come as addresses (`tensor.data_ptr()`); negkernel/ops/<op>/cpp.py checks them first.

#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "attention/attention_cpu.h"
#include "linear/linear_cpu.h"
#include "logprob/logprob_cpu.h"
#include "mlp/mlp_cpu.h"
#include "norm/norm_cpu.h"
#include "packed/packed_cpu.h"
#include "skinny/skinny_cpu.h"
#ifdef NEGKERNEL_CUDA
#include "attention/attention_cuda.h"
#include "logprob/logprob_cuda.h"
#endif

namespace py = pybind11;
using namespace py::literals;
using namespace negkernel;

namespace {

using Address = std::uintptr_t;

template <class T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

// The one check that the wrappers leave to the kernels' side: it reads data.
const std::int64_t* prompts(Address address, std::int64_t R, std::int64_t P) {
  const auto* row_prompt = at<const std::int64_t>(address);
  for (std::int64_t row = 0; row < R; ++row) {
    if (row_prompt[row] < 0 || row_prompt[row] >= P) {
      throw py::index_error("row_prompt[" + std::to_string(row) + "] is " +
                            std::to_string(row_prompt[row]) + ", expected at least 0 and below " +
                            std::to_string(P));
    }
  }
  return row_prompt;
}

Activation activation_from(const std::string& name) {
  if (name == "silu") return Activation::silu;
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_tanh") return Activation::gelu_tanh;
  if (name == "relu") return Activation::relu;
  throw py::value_error("no kernel for activation " + name);
}

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

// Indices below `limit`, checked because the kernels would read elsewhere.
const std::int64_t* indices(const char* name, Address address, std::int64_t count,
                            std::int64_t limit) {
  const auto* index = at<const std::int64_t>(address);
  for (std::int64_t i = 0; i < count; ++i) {
    if (index[i] < 0 || index[i] >= limit) {
      throw py::index_error(std::string(name) + "[" + std::to_string(i) + "] is " +
                            std::to_string(index[i]) + ", expected at least 0 and below " +
                            std::to_string(limit));
    }
  }
  return index;
}

struct Kernels {
  const char* isa;
  void (*attention)(const AttentionArgs&);
  void (*logprob)(const LogprobArgs&);
  void (*mlp)(const MlpArgs&);
  void (*norm)(const NormArgs&);
  void (*sum_by_label)(const SumByLabelArgs&);
  void (*votes_by_size)(const VotesBySizeArgs&);
  void (*skinny)(const SkinnyArgs&);
  void (*linear)(const LinearArgs&) = nullptr;  // needs the instruction itself
};

void register_kernels(py::module_& parent, const Kernels& kernels) {
  py::module_ m = parent.def_submodule(kernels.isa);
  m.def(
      "attention",
      [run = kernels.attention](Address q, Address k, Address v, Address dq, Address dk, Address dv,
                                Address prefix_k, Address prefix_v, Address prefix_start,
                                Address row_prompt, Address dout, std::int64_t P, std::int64_t R,
                                std::int64_t T, std::int64_t Hq, std::int64_t Hkv, std::int64_t D,
                                float scale, float softcap, int num_threads) {
        const AttentionArgs args{at<const float>(q),
                                 at<const float>(k),
                                 at<const float>(v),
                                 at<const float>(dq),
                                 at<const float>(dk),
                                 at<const float>(dv),
                                 at<const float>(prefix_k),
                                 at<const float>(prefix_v),
                                 at<const std::int64_t>(prefix_start),
                                 prompts(row_prompt, R, P),
                                 at<float>(dout),
                                 P,
                                 R,
                                 Hq,
                                 Hkv,
                                 D,
                                 scale,
                                 softcap,
                                 num_threads};
        check_packing(args.prefix_start, P, T, args.row_prompt, R);
        py::gil_scoped_release release;
        run(args);
      },
      "q"_a, "k"_a, "v"_a, "dq"_a, "dk"_a, "dv"_a, "prefix_k"_a, "prefix_v"_a, "prefix_start"_a,
      "row_prompt"_a, "dout"_a, py::kw_only(), "P"_a, "R"_a, "T"_a, "Hq"_a, "Hkv"_a, "D"_a,
      "scale"_a, "softcap"_a, "num_threads"_a, "Write dout [R, Hq, D]; softcap 0 is none.");
  m.def(
      "logprob",
      [run = kernels.logprob](Address dz, Address base_logprob, Address targets, Address row_prompt,
                              Address sums, Address dz_target, std::int64_t P, std::int64_t R,
                              std::int64_t V, std::int64_t K, std::int64_t start,
                              std::int64_t width, int num_threads) {
        const LogprobArgs args{at<const float>(dz),
                               at<const float>(base_logprob),
                               at<const std::int64_t>(targets),
                               prompts(row_prompt, R, P),
                               at<double>(sums),
                               at<float>(dz_target),
                               P,
                               R,
                               V,
                               K,
                               start,
                               width,
                               num_threads};
        py::gil_scoped_release release;
        run(args);
      },
      "dz"_a, "base_logprob"_a, "targets"_a, "row_prompt"_a, "sums"_a, "dz_target"_a, py::kw_only(),
      "P"_a, "R"_a, "V"_a, "K"_a, "start"_a, "width"_a, "num_threads"_a,
      "Add one vocabulary tile to sums [R, 3] float64 and fill dz_target [R, K].");
  m.def(
      "mlp",
      [run = kernels.mlp](Address gate, Address up, Address dgate, Address dup, Address row_prompt,
                          Address dh, std::int64_t P, std::int64_t R, std::int64_t I,
                          const std::string& activation, int num_threads) {
        const MlpArgs args{at<const float>(gate),
                           at<const float>(up),
                           at<const float>(dgate),
                           at<const float>(dup),
                           prompts(row_prompt, R, P),
                           at<float>(dh),
                           P,
                           R,
                           I,
                           activation_from(activation),
                           num_threads};
        py::gil_scoped_release release;
        run(args);
      },
      "gate"_a, "up"_a, "dgate"_a, "dup"_a, "row_prompt"_a, "dh"_a, py::kw_only(), "P"_a, "R"_a,
      "I"_a, "activation"_a, "num_threads"_a, "Write dh [R, I]; gate and dgate may be 0.");
  m.def(
      "norm",
      [run = kernels.norm](Address x, Address d, Address branch, Address weight, Address row_prompt,
                           Address dn, std::int64_t P, std::int64_t R, std::int64_t heads,
                           std::int64_t H, float eps, bool layer, int num_threads) {
        const NormArgs args{at<const float>(x),
                            at<float>(d),
                            at<const float>(branch),
                            at<const float>(weight),
                            prompts(row_prompt, R, P),
                            at<float>(dn),
                            P,
                            R,
                            heads,
                            H,
                            eps,
                            layer,
                            num_threads};
        py::gil_scoped_release release;
        run(args);
      },
      "x"_a, "d"_a, "branch"_a, "weight"_a, "row_prompt"_a, "dn"_a, py::kw_only(), "P"_a, "R"_a,
      "heads"_a, "H"_a, "eps"_a, "layer"_a, "num_threads"_a,
      "Add branch to d in place and write dn [R, heads, H]; branch and weight may be 0.");
  m.def(
      "sum_by_label",
      [run = kernels.sum_by_label](Address codes, Address labels, Address tables, Address total,
                                   std::int64_t Q, std::int64_t N, std::int64_t stride,
                                   std::int64_t C, std::int64_t K, bool wide, int num_threads) {
        const SumByLabelArgs args{{at<const void>(codes), Q, N, stride, C, wide},
                                  indices("labels", labels, Q, K),
                                  at<const std::int8_t>(tables),
                                  at<std::int64_t>(total),
                                  K,
                                  num_threads};
        py::gil_scoped_release release;
        run(args);
      },
      "codes"_a, "labels"_a, "tables"_a, "total"_a, py::kw_only(), "Q"_a, "N"_a, "stride"_a, "C"_a,
      "K"_a, "wide"_a, "num_threads"_a, "Write total [N] int64.");
  m.def(
      "votes_by_size",
      [run = kernels.votes_by_size](
          Address codes, Address neurons, Address polarity, Address tables, Address sizes,
          Address votes, std::int64_t Q, std::int64_t N, std::int64_t stride, std::int64_t C,
          std::int64_t M, std::int64_t K, std::int64_t S, bool wide, int num_threads) {
        const VotesBySizeArgs args{{at<const void>(codes), Q, N, stride, C, wide},
                                   indices("neurons", neurons, M, N),
                                   at<const std::int8_t>(polarity),
                                   at<const std::int8_t>(tables),
                                   indices("sizes", sizes, S, M + 1),
                                   at<std::int64_t>(votes),
                                   K,
                                   S,
                                   num_threads};
        py::gil_scoped_release release;
        run(args);
      },
      "codes"_a, "neurons"_a, "polarity"_a, "tables"_a, "sizes"_a, "votes"_a, py::kw_only(), "Q"_a,
      "N"_a, "stride"_a, "C"_a, "M"_a, "K"_a, "S"_a, "wide"_a, "num_threads"_a,
      "Write votes [Q, S, K] int64 of the first sizes[s] neurons.");
  m.def(
      "skinny",
      [run = kernels.skinny](Address y, Address weight, Address out, std::int64_t M, std::int64_t K,
                             std::int64_t N, int num_threads) {
        const SkinnyArgs args{at<const float>(y), at<const float>(weight), at<float>(out), M, K, N,
                              num_threads};
        py::gil_scoped_release release;
        run(args);
      },
      "y"_a, "weight"_a, "out"_a, py::kw_only(), "M"_a, "K"_a, "N"_a, "num_threads"_a,
      "Write out [M, N] = y [M, K] weight [K, N].");
  if (kernels.linear == nullptr) return;
  m.def(
      "linear",
      [run = kernels.linear](Address x, Address weight, Address out, std::int64_t M, std::int64_t K,
                             std::int64_t N, std::int64_t x_stride, std::int64_t weight_stride,
                             bool transposed, bool half, int num_threads) {
        const LinearArgs args{
            at<const float>(x), at<const void>(weight), at<float>(out), M,    K,          N,
            x_stride,           weight_stride,          transposed,     half, num_threads};
        py::gil_scoped_release release;
        run(args);
      },
      "x"_a, "weight"_a, "out"_a, py::kw_only(), "M"_a, "K"_a, "N"_a, "x_stride"_a,
      "weight_stride"_a, "transposed"_a, "half"_a, "num_threads"_a,
      "Write out [M, N] = x [M, K] weight [N, K]^T on bfloat16 operands; none of M, K, N is 0.");
}

#ifdef NEGKERNEL_CUDA
void register_cuda(py::module_& parent) {
  py::module_ m = parent.def_submodule("cuda");
  m.def(
      "attention",
      [](Address q, Address k, Address v, Address dq, Address dk, Address dv, Address prefix_k,
         Address prefix_v, Address prefix_start, Address row_prompt, Address score,
         Address score_self, Address log_sum, Address o, Address dout, std::int64_t P,
         std::int64_t R, std::int64_t T, int Hq, int Hkv, int D, float scale, float softcap,
         std::uintptr_t stream) {
        const cuda::AttentionArgs args{at<const float>(q),
                                       at<const float>(k),
                                       at<const float>(v),
                                       at<const float>(dq),
                                       at<const float>(dk),
                                       at<const float>(dv),
                                       at<const float>(prefix_k),
                                       at<const float>(prefix_v),
                                       at<const std::int64_t>(prefix_start),
                                       at<const std::int64_t>(row_prompt),
                                       at<float>(score),
                                       at<float>(score_self),
                                       at<float>(log_sum),
                                       at<float>(o),
                                       at<float>(dout),
                                       P,
                                       R,
                                       T,
                                       Hq,
                                       Hkv,
                                       D,
                                       scale,
                                       softcap};
        py::gil_scoped_release release;
        cuda::attention(args, stream);
      },
      "q"_a, "k"_a, "v"_a, "dq"_a, "dk"_a, "dv"_a, "prefix_k"_a, "prefix_v"_a, "prefix_start"_a,
      "row_prompt"_a, "score"_a, "score_self"_a, "log_sum"_a, "o"_a, "dout"_a, py::kw_only(), "P"_a,
      "R"_a, "T"_a, "Hq"_a, "Hkv"_a, "D"_a, "scale"_a, "softcap"_a, "stream"_a,
      "Enqueue on a cudaStream_t what writes dout [R, Hq, D]; softcap 0 is none.");
  m.def(
      "logprob",
      [](Address dz, Address base_logprob, Address base_logits, Address targets, Address row_prompt,
         Address sums, Address dz_target, std::int64_t R, std::int64_t V, std::int64_t K,
         std::int64_t start, std::int64_t width, float scale, float softcap,
         std::uintptr_t stream) {
        const cuda::LogprobArgs args{at<const float>(dz),
                                     at<const float>(base_logprob),
                                     at<const float>(base_logits),
                                     at<const std::int64_t>(targets),
                                     at<const std::int64_t>(row_prompt),
                                     at<double>(sums),
                                     at<float>(dz_target),
                                     R,
                                     V,
                                     K,
                                     start,
                                     width,
                                     scale,
                                     softcap};
        py::gil_scoped_release release;
        cuda::logprob(args, stream);
      },
      "dz"_a, "base_logprob"_a, "base_logits"_a, "targets"_a, "row_prompt"_a, "sums"_a,
      "dz_target"_a, py::kw_only(), "R"_a, "V"_a, "K"_a, "start"_a, "width"_a, "scale"_a,
      "softcap"_a, "stream"_a,
      "Enqueue what adds one vocabulary tile to sums [R, 3] float64 and fills dz_target [R, K].");
}
#endif

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.doc() =
      "CPU kernels of negkernel, one submodule per instruction set; `isas` names those usable";
  py::list isas;
  const auto offer = [&](const Kernels& kernels) {
    register_kernels(m, kernels);
    isas.append(kernels.isa);
  };
  offer({"portable", portable::attention, portable::logprob, portable::mlp, portable::norm,
         portable::sum_by_label, portable::votes_by_size, portable::skinny});
#ifdef NEGKERNEL_X86
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    offer({"avx2", avx2::attention, avx2::logprob, avx2::mlp, avx2::norm, avx2::sum_by_label,
           avx2::votes_by_size, avx2::skinny});
  }
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
    offer({"avx512", avx512::attention, avx512::logprob, avx512::mlp, avx512::norm,
           avx512::sum_by_label, avx512::votes_by_size, avx512::skinny});
  }
#ifdef NEGKERNEL_AVX512BF16
  if (__builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw")) {
    offer({"avx512bf16", avx512::attention, avx512::logprob, avx512::mlp, avx512::norm,
           avx512::sum_by_label, avx512::votes_by_size, avx512::skinny, avx512bf16::linear});
  }
#endif
#endif
  m.attr("isas") = py::tuple(isas);
#ifdef NEGKERNEL_CUDA
  register_cuda(m);
#endif
}
