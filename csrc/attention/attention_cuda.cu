#include <cuda_runtime.h>

#include <cmath>
#include <stdexcept>
#include <string>

#include "attention/attention_cuda.h"

namespace negkernel::cuda {
namespace {

constexpr unsigned kAll = 0xffffffffu;
constexpr int kLanes = 32;  // of a warp; a tile holds a key for each
constexpr int kWarps = 4;   // of a block
constexpr int kPairs = 4;   // (row, query head) pairs of a warp: each key that is read serves four
constexpr int kBlockPairs = kWarps * kPairs;

__device__ float sum_of_warp(float x) {
  for (int step = kLanes / 2; step > 0; step /= 2) x += __shfl_xor_sync(kAll, x, step);
  return x;
}

__device__ float max_of_warp(float x) {
  for (int step = kLanes / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(kAll, x, step));
  return x;
}

// A score and its difference as the softmax reads them.
struct Score {
  float logp, step;
};

__device__ float capped(float score, float softcap) {
  return softcap == 0.0f ? score : softcap * tanhf(score / softcap);
}

__device__ Score weigh(float score, float step, float log_sum, float softcap) {
  if (softcap != 0.0f) {
    const float before = tanhf(score / softcap), after = tanhf((score + step) / softcap);
    step = softcap * tanhf(step / softcap) * (1.0f - before * after);
    score = softcap * before;
  }
  return {score - log_sum, step};
}

// What all rows of a prompt share. A warp owns one prompt and query head; a lane owns every 32nd
// key, and D / 32 columns of the output.
template <int D>
__global__ void base_kernel(AttentionArgs a) {
  constexpr int kColumns = D / kLanes;
  const int lane = threadIdx.x % kLanes;
  const std::int64_t own = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / kLanes;
  if (own >= a.P * a.Hq) return;
  const std::int64_t prompt = own / a.Hq;
  const int head = own % a.Hq, kv_head = head / (a.Hq / a.Hkv);
  const float* q = a.q + own * D;
  const std::int64_t self = (prompt * a.Hkv + kv_head) * D;

  float dot = 0.0f, acc[kColumns];
  for (int c = 0; c < kColumns; ++c) {
    const int column = lane * kColumns + c;
    dot += q[column] * a.k[self + column];
    acc[c] = a.v[self + column];
  }
  const float score_self = a.scale * sum_of_warp(dot);
  float top = capped(score_self, a.softcap), total = lane == 0 ? 1.0f : 0.0f;
  const std::int64_t stop = a.prefix_start[prompt + 1];
  for (std::int64_t first = a.prefix_start[prompt]; first < stop; first += kLanes) {
    const std::int64_t token = first + lane;
    float score = -INFINITY;
    if (token < stop) {
      const float* key = a.prefix_k + (token * a.Hkv + kv_head) * D;
      float product = 0.0f;
      for (int d = 0; d < D; ++d) product += q[d] * key[d];
      a.score[head * a.T + token] = a.scale * product;
      score = capped(a.scale * product, a.softcap);
    }
    const float higher = fmaxf(top, max_of_warp(score));
    const float weight = expf(score - higher), keep = expf(top - higher);
    total = total * keep + weight;
    for (int c = 0; c < kColumns; ++c) acc[c] *= keep;
    for (int j = 0; j < kLanes && first + j < stop; ++j) {
      const float w = __shfl_sync(kAll, weight, j);
      const float* value = a.prefix_v + ((first + j) * a.Hkv + kv_head) * D + lane * kColumns;
      for (int c = 0; c < kColumns; ++c) acc[c] += w * value[c];
    }
    top = higher;
  }
  total = sum_of_warp(total);
  for (int c = 0; c < kColumns; ++c) a.o[own * D + lane * kColumns + c] = acc[c] / total;
  if (lane == 0) {
    a.score_self[own] = score_self;
    a.log_sum[own] = top + logf(total);
  }
}

// The four floats of padding put the keys of eight neighbouring lanes in different banks.
template <int D>
struct Tile {
  float key[kLanes][D + 4];
  float value[kLanes][D];
  float dq[kBlockPairs][D];
};

// What a warp knows of its pairs, the same in every lane but for the columns of `acc`.
template <int D>
struct Pairs {
  std::int64_t row[kPairs], prompt[kPairs];
  int head[kPairs];
  bool owned[kPairs];
  float log_sum[kPairs];
  float acc[kPairs][D / kLanes];
};

// Read the prefix of the prompts `first` to `last` tile by tile; `visit` turns each pair's score
// into the weight with which the lane's value enters `acc`. All threads of the block take part.
template <int D, class Visit>
__device__ void walk(const AttentionArgs& a, Tile<D>& tile, Pairs<D>& pairs, std::int64_t first,
                     std::int64_t last, Visit visit) {
  constexpr int kColumns = D / kLanes;
  const int kv_head = blockIdx.y, lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
  for (std::int64_t prompt = first; prompt <= last; ++prompt) {
    const std::int64_t stop = a.prefix_start[prompt + 1];
    for (std::int64_t begin = a.prefix_start[prompt]; begin < stop; begin += kLanes) {
      __syncthreads();
      for (int i = threadIdx.x; i < kLanes * D; i += blockDim.x) {
        const std::int64_t token = begin + i / D;
        const std::int64_t at = (token * a.Hkv + kv_head) * D + i % D;
        tile.key[i / D][i % D] = token < stop ? a.prefix_k[at] : 0.0f;
        tile.value[i / D][i % D] = token < stop ? a.prefix_v[at] : 0.0f;
      }
      __syncthreads();
      float dot[kPairs] = {};
      for (int d = 0; d < D; d += 4) {
        const float4 key = *reinterpret_cast<const float4*>(&tile.key[lane][d]);
        for (int i = 0; i < kPairs; ++i) {
          const auto* row = &tile.dq[warp * kPairs + i][d];
          const float4 dq = *reinterpret_cast<const float4*>(row);
          dot[i] += key.x * dq.x + key.y * dq.y + key.z * dq.z + key.w * dq.w;
        }
      }
      float weight[kPairs];
      for (int i = 0; i < kPairs; ++i) {
        const bool seen = pairs.owned[i] && pairs.prompt[i] == prompt && begin + lane < stop;
        const float score = seen ? a.score[pairs.head[i] * a.T + begin + lane] : 0.0f;
        const Score s = weigh(score, a.scale * dot[i], pairs.log_sum[i], a.softcap);
        weight[i] = visit(i, seen, s);
      }
      for (int j = 0; j < kLanes; ++j) {
        for (int i = 0; i < kPairs; ++i) {
          const float w = __shfl_sync(kAll, weight[i], j);
          for (int c = 0; c < kColumns; ++c) {
            pairs.acc[i][c] += w * tile.value[j][lane * kColumns + c];
          }
        }
      }
    }
  }
}

// A block owns 16 consecutive pairs of one key head; grid [ceil(R * G / 16), Hkv].
template <int D>
__global__ void __launch_bounds__(kWarps* kLanes) attention_kernel(AttentionArgs a) {
  constexpr int kColumns = D / kLanes;
  __shared__ alignas(16) Tile<D> tile;
  const int kv_head = blockIdx.y, lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
  const int G = a.Hq / a.Hkv;
  const std::int64_t n = a.R * G, first_pair = static_cast<std::int64_t>(blockIdx.x) * kBlockPairs;
  const std::int64_t last_pair = min(first_pair + kBlockPairs, n) - 1;
  const std::int64_t first = a.row_prompt[first_pair / G], last = a.row_prompt[last_pair / G];

  for (int i = threadIdx.x; i < kBlockPairs * D; i += blockDim.x) {
    const std::int64_t pair = min(first_pair + i / D, n - 1);
    const std::int64_t at = pair / G * a.Hq + kv_head * G + pair % G;
    tile.dq[i / D][i % D] = a.dq[at * D + i % D];
  }
  __syncthreads();

  // The token itself: its key and value differ from row to row.
  Pairs<D> pairs;
  float p_self[kPairs], d_self[kPairs], logp_self[kPairs], E[kPairs];
  for (int i = 0; i < kPairs; ++i) {
    std::int64_t pair = first_pair + warp * kPairs + i;
    pairs.owned[i] = pair < n;
    pair = min(pair, n - 1);
    pairs.row[i] = pair / G;
    pairs.head[i] = kv_head * G + pair % G;
    pairs.prompt[i] = a.row_prompt[pairs.row[i]];
    const std::int64_t base = pairs.prompt[i] * a.Hq + pairs.head[i];
    const std::int64_t base_kv = (pairs.prompt[i] * a.Hkv + kv_head) * D;
    const std::int64_t own_kv = (pairs.row[i] * a.Hkv + kv_head) * D;
    pairs.log_sum[i] = a.log_sum[base];
    float dot = 0.0f;
    for (int c = 0; c < kColumns; ++c) {
      const int column = lane * kColumns + c;
      const float dq = tile.dq[warp * kPairs + i][column];
      dot += dq * a.k[base_kv + column] + (a.q[base * D + column] + dq) * a.dk[own_kv + column];
    }
    const float step = a.scale * sum_of_warp(dot);
    const Score s = weigh(a.score_self[base], step, pairs.log_sum[i], a.softcap);
    logp_self[i] = s.logp, d_self[i] = s.step, p_self[i] = expf(s.logp);
    E[i] = lane == 0 ? p_self[i] * expm1f(s.step) : 0.0f;
    for (int c = 0; c < kColumns; ++c) {
      const float v = a.v[base_kv + lane * kColumns + c];
      pairs.acc[i][c] = p_self[i] * expm1f(s.step) * v;
    }
  }

  walk<D>(a, tile, pairs, first, last, [&](int i, bool seen, Score s) {
    const float gain = seen ? expf(s.logp) * expm1f(s.step) : 0.0f;
    E[i] += gain;
    return gain;
  });

  bool small[kPairs], all_small = true;
  for (int i = 0; i < kPairs; ++i) {
    E[i] = sum_of_warp(E[i]);
    // Where the mass moves, 1 + E cancels or overflows. An E that is no number is not small.
    small[i] = fabsf(E[i]) <= 0.5f;
    all_small = all_small && small[i];
    const std::int64_t own = pairs.row[i] * a.Hq + pairs.head[i];
    const std::int64_t base = pairs.prompt[i] * a.Hq + pairs.head[i];
    const std::int64_t own_kv = (pairs.row[i] * a.Hkv + kv_head) * D;
    if (!small[i] || !pairs.owned[i]) continue;
    for (int c = 0; c < kColumns; ++c) {
      const int column = lane * kColumns + c;
      const float moved = pairs.acc[i][c] - E[i] * a.o[base * D + column];
      const float self = p_self[i] * expf(d_self[i]) * a.dv[own_kv + column];
      a.dout[own * D + column] = (moved + self) / (1.0f + E[i]);
    }
  }
  if (__syncthreads_and(all_small)) return;

  // A softmax with a running maximum instead, for the pairs that need it.
  float top[kPairs], total[kPairs];
  for (int i = 0; i < kPairs; ++i) {
    const std::int64_t base_kv = (pairs.prompt[i] * a.Hkv + kv_head) * D;
    const std::int64_t own_kv = (pairs.row[i] * a.Hkv + kv_head) * D;
    top[i] = logp_self[i] + d_self[i];
    total[i] = lane == 0 ? 1.0f : 0.0f;
    for (int c = 0; c < kColumns; ++c) {
      const int column = lane * kColumns + c;
      pairs.acc[i][c] = a.v[base_kv + column] + a.dv[own_kv + column];
    }
  }
  walk<D>(a, tile, pairs, first, last, [&](int i, bool seen, Score s) {
    const float shifted = seen ? s.logp + s.step : -INFINITY;
    const float higher = fmaxf(top[i], max_of_warp(shifted));
    const float keep = expf(top[i] - higher), weight = expf(shifted - higher);
    total[i] = total[i] * keep + weight;
    for (int c = 0; c < kColumns; ++c) pairs.acc[i][c] *= keep;
    top[i] = higher;
    return weight;
  });
  for (int i = 0; i < kPairs; ++i) {
    const float sum = sum_of_warp(total[i]);
    if (small[i] || !pairs.owned[i]) continue;
    const std::int64_t own = pairs.row[i] * a.Hq + pairs.head[i];
    const std::int64_t base = pairs.prompt[i] * a.Hq + pairs.head[i];
    for (int c = 0; c < kColumns; ++c) {
      const int column = lane * kColumns + c;
      a.dout[own * D + column] = pairs.acc[i][c] / sum - a.o[base * D + column];
    }
  }
}

void check(const char* what) {
  const cudaError_t error = cudaGetLastError();
  if (error == cudaSuccess) return;
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
}

template <int D>
void launch(const AttentionArgs& a, cudaStream_t stream) {
  const dim3 threads(kWarps * kLanes);
  base_kernel<D><<<(a.P * a.Hq + kWarps - 1) / kWarps, threads, 0, stream>>>(a);
  check("attention, base");
  const std::int64_t pairs = a.R * (a.Hq / a.Hkv);
  const dim3 grid((pairs + kBlockPairs - 1) / kBlockPairs, a.Hkv);
  attention_kernel<D><<<grid, threads, 0, stream>>>(a);
  check("attention");
}

}  // namespace

void attention(const AttentionArgs& a, std::uintptr_t stream) {
  const auto queue = reinterpret_cast<cudaStream_t>(stream);
  if (a.R == 0) return;
  if (a.D == 64) return launch<64>(a, queue);
  if (a.D == 128) return launch<128>(a, queue);
  throw std::invalid_argument("attention: head size is " + std::to_string(a.D) +
                              ", expected 64 or 128");
}

}  // namespace negkernel::cuda
