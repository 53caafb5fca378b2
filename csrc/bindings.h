// One function a kernel that binds it to a module of its instruction set; see
// csrc/<op>/binding.cpp.
#pragma once

#include "common/binding.h"

namespace negkernel {

struct AttentionArgs;
struct LogprobArgs;
struct MlpArgs;
struct NormArgs;
struct SumByLabelArgs;
struct VotesBySizeArgs;
struct SkinnyArgs;
struct LinearArgs;

void bind_attention(py::module_& m, void (*run)(const AttentionArgs&));
void bind_logprob(py::module_& m, void (*run)(const LogprobArgs&));
void bind_mlp(py::module_& m, void (*run)(const MlpArgs&));
void bind_norm(py::module_& m, void (*run)(const NormArgs&));
void bind_packed(py::module_& m, void (*sum_by_label)(const SumByLabelArgs&),
                 void (*votes_by_size)(const VotesBySizeArgs&));
void bind_skinny(py::module_& m, void (*run)(const SkinnyArgs&));
void bind_linear(py::module_& m, void (*run)(const LinearArgs&));

#ifdef NEGKERNEL_CUDA
void bind_attention_cuda(py::module_& m);
void bind_logprob_cuda(py::module_& m);
#endif

}  // namespace negkernel
