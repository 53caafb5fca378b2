#include <cuda_runtime.h>

#include <cmath>
#include <stdexcept>
#include <string>

#include "logprob/logprob_cuda.h"

namespace negkernel::cuda {
namespace {

constexpr unsigned kAll = 0xffffffffu;
constexpr int kLanes = 32;
constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kLanes;

struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};

// A NaN has to come through, which fmaxf would drop.
struct Max {
  __device__ float operator()(float a, float b) const { return a > b || isnan(a) ? a : b; }
};

// The same result in every thread of the block, combined in an order that never changes.
template <class Combine>
__device__ float of_block(float x, Combine combine) {
  __shared__ float part[kWarps];
  for (int step = kLanes / 2; step > 0; step /= 2) {
    x = combine(x, __shfl_xor_sync(kAll, x, step));
  }
  __syncthreads();  // the last call's parts have been read
  if (threadIdx.x % kLanes == 0) part[threadIdx.x / kLanes] = x;
  __syncthreads();
  x = part[0];
  for (int warp = 1; warp < kWarps; ++warp) x = combine(x, part[warp]);
  return x;
}

// The difference of a final logit, from that of the head's output.
__device__ float final_step(float dz, const float* base_logit, float scale, float softcap) {
  dz *= scale;
  if (softcap == 0.0f) return dz;
  const float before = *base_logit * (scale / softcap), step = dz / softcap;
  return softcap * tanhf(step) * (1.0f - tanhf(before) * tanhf(before + step));
}

// A block owns one row.
__global__ void __launch_bounds__(kThreads) logprob_kernel(LogprobArgs a) {
  const std::int64_t row = blockIdx.x, prompt = a.row_prompt[row];
  const float* dz = a.dz + row * a.width;
  const float* logp = a.base_logprob + prompt * a.V + a.start;
  const float* base = a.softcap == 0.0f ? nullptr : a.base_logits + prompt * a.V + a.start;
  const auto step_at = [&](std::int64_t i) {
    return final_step(dz[i], base == nullptr ? nullptr : base + i, a.scale, a.softcap);
  };

  float E = 0.0f, top = -INFINITY;
  for (std::int64_t i = threadIdx.x; i < a.width; i += kThreads) {
    const float step = step_at(i);
    E += expf(logp[i]) * expm1f(fminf(step, 88.0f));  // beyond it e^step is no float
    if (isnan(step)) E = step;                        // fminf would have dropped it
    top = Max()(logp[i] + step, top);
  }
  E = of_block(E, Sum());
  top = of_block(top, Max());
  // Tokens that cannot be: e^(-inf - (-inf)) would be no number.
  const float reference = top == -INFINITY ? 0.0f : top;
  float Z = 0.0f;
  for (std::int64_t i = threadIdx.x; i < a.width; i += kThreads) {
    Z += expf(logp[i] + step_at(i) - reference);
  }
  Z = of_block(Z, Sum());

  if (threadIdx.x == 0) {
    double* sums = a.sums + row * 3;
    const double higher = fmax(sums[1], static_cast<double>(top));
    const double to = higher == -INFINITY ? 0.0 : higher;
    sums[0] += E;
    sums[2] = sums[2] * exp(sums[1] - to) + (top == -INFINITY ? 0.0 : Z * exp(top - to));
    sums[1] = higher;
  }
  for (std::int64_t k = threadIdx.x; k < a.K; k += kThreads) {
    const std::int64_t at = a.targets[prompt * a.K + k] - a.start;
    if (at >= 0 && at < a.width) a.dz_target[row * a.K + k] = step_at(at);
  }
}

}  // namespace

void logprob(const LogprobArgs& a, std::uintptr_t stream) {
  if (a.R == 0) return;
  const auto queue = reinterpret_cast<cudaStream_t>(stream);
  logprob_kernel<<<static_cast<unsigned>(a.R), kThreads, 0, queue>>>(a);
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) {
    throw std::runtime_error(std::string("logprob: ") + cudaGetErrorString(error));
  }
}

}  // namespace negkernel::cuda
