// Registers the kernels of every instruction set that the processor can run, one submodule each.

#include "bindings.h"

#include "attention/attention_cpu.h"
#include "linear/linear_cpu.h"
#include "logprob/logprob_cpu.h"
#include "mlp/mlp_cpu.h"
#include "norm/norm_cpu.h"
#include "packed/packed_cpu.h"
#include "skinny/skinny_cpu.h"

namespace py = pybind11;
using namespace negkernel;

namespace {

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

void bind(py::module_& parent, const Kernels& kernels) {
  py::module_ m = parent.def_submodule(kernels.isa);
  bind_attention(m, kernels.attention);
  bind_logprob(m, kernels.logprob);
  bind_mlp(m, kernels.mlp);
  bind_norm(m, kernels.norm);
  bind_packed(m, kernels.sum_by_label, kernels.votes_by_size);
  bind_skinny(m, kernels.skinny);
  if (kernels.linear != nullptr) bind_linear(m, kernels.linear);
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.doc() =
      "CPU kernels of negkernel, one submodule per instruction set; `isas` names those usable";
  py::list isas;
  const auto offer = [&](const Kernels& kernels) {
    bind(m, kernels);
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
  py::module_ cuda = m.def_submodule("cuda");
  bind_attention_cuda(cuda);
  bind_logprob_cuda(cuda);
#endif
}
