#include "attention/attention_cpu.h"

#include <vector>

#include "attention/products.h"
#include "common/buffer.h"
#include "common/vector_math.h"

namespace negkernel::NEGKERNEL_ISA {
namespace {

constexpr std::int64_t kBlock = 256;  // rows a task
constexpr float kNoScore = -1e30f;    // of the padding: its weight vanishes
constexpr float kSmall = 0.5f;        // largest |E| for which 1 + E has digits to spare

inline std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

struct Task {
  std::int64_t prompt, head, first, last;  // key head and rows
};

std::vector<Task> make_tasks(const AttentionArgs& a) {
  std::vector<Task> tasks;
  for (std::int64_t first = 0; first < a.R;) {
    const std::int64_t prompt = a.row_prompt[first];
    std::int64_t last = first;
    while (last < a.R && last - first < kBlock && a.row_prompt[last] == prompt) ++last;
    for (std::int64_t head = 0; head < a.Hkv; ++head) tasks.push_back({prompt, head, first, last});
    first = last;
  }
  return tasks;
}

// What a task shares: one prompt's keys and values of one head, the token itself last, and for each
// query head that reads them the base scores (before the soft-cap) and weights.
class SharedKeys {
 public:
  void prepare(const AttentionArgs& a, const Task& task) {
    const std::int64_t start = a.prefix_start[task.prompt];
    tokens = a.prefix_start[task.prompt + 1] - start + 1;
    n = round_up(tokens, kLanes);
    width = round_up(a.D, kLanes);
    pack_keys(a, task, start);
    float* packed_values = values.filled(tokens * width, 0.0f);
    for (std::int64_t j = 0; j < tokens; ++j) {
      const float* value = j + 1 < tokens ? a.prefix_v + ((start + j) * a.Hkv + task.head) * a.D
                                          : a.v + (task.prompt * a.Hkv + task.head) * a.D;
      for (std::int64_t i = 0; i < a.D; ++i) packed_values[j * width + i] = value[i];
    }
    const std::int64_t G = a.Hq / a.Hkv;
    score.reserve(round_up(G, kRows) * n);
    weight.reserve(G * n);
    const float* q[kRows];
    for (std::int64_t g = 0; g < G; g += kRows) {
      for (int m = 0; m < kRows; ++m) {
        q[m] = a.q + (task.prompt * a.Hq + task.head * G + least(g + m, G - 1)) * a.D;
      }
      product(q, keys.data(), a.D, n, score.data() + g * n);
    }
    for (std::int64_t g = 0; g < G; ++g) {
      base_weights(a.softcap, score.data() + g * n, weight.data() + g * n);
    }
  }

  std::int64_t tokens, n, width;  // n and width are tokens and D, padded
  Buffer keys;                    // [D, n], times the scale
  Buffer values;                  // [tokens, width]
  Buffer score;                   // [G padded to kRows, n]
  Buffer weight;                  // [G, n]

 private:
  // Transposed a vector of tokens at a time, so that every line written is written whole.
  void pack_keys(const AttentionArgs& a, const Task& task, std::int64_t start) {
    float* packed = keys.filled(a.D * n, 0.0f);
    for (std::int64_t first = 0; first < tokens; first += kLanes) {
      const std::int64_t count = least(kLanes, tokens - first);
      const float* key[kLanes];
      for (std::int64_t j = 0; j < count; ++j) {
        key[j] = first + j + 1 < tokens
                     ? a.prefix_k + ((start + first + j) * a.Hkv + task.head) * a.D
                     : a.k + (task.prompt * a.Hkv + task.head) * a.D;
      }
      for (std::int64_t i = 0; i < a.D; ++i) {
        float* line = packed + i * n + first;
        for (std::int64_t j = 0; j < count; ++j) line[j] = a.scale * key[j][i];
      }
    }
  }
  void base_weights(float softcap, float* s, float* w) const;
};

// tanh(x) = -expm1(-2|x|) / (2 + expm1(-2|x|)) with x's sign.
inline float hyperbolic_tangent(float x) {
  const float e = exponential(-2.0f * absolute(x)).expm1;
  const float t = -e / (2.0f + e);
  return x < 0.0f ? -t : t;
}

// w = softmax(s) over n scores.
inline void softmax(const float* __restrict s, std::int64_t n, float* __restrict w) {
  float top = s[0], sum = 0.0f;
#pragma omp simd reduction(max : top)
  for (std::int64_t j = 0; j < n; ++j) top = s[j] > top ? s[j] : top;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < n; ++j) {
    w[j] = exponential(s[j] - top).exp;
    sum += w[j];
  }
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) w[j] /= sum;
}

void SharedKeys::base_weights(float softcap, float* s, float* w) const {
  for (std::int64_t j = tokens; j < n; ++j) s[j] = kNoScore;
  if (softcap > 0.0f) {
    Buffer capped;
    float* c = capped.filled(n, kNoScore);
    for (std::int64_t j = 0; j < tokens; ++j) {
      c[j] = softcap * hyperbolic_tangent(s[j] / softcap);
    }
    return softmax(c, n, w);
  }
  softmax(s, n, w);
}

// Differences of scores become differences of soft-capped scores, and s the capped ones:
// tanh(b) - tanh(a) = tanh(b - a) (1 - tanh a tanh b).
inline void cap(float softcap, const float* __restrict s, std::int64_t tokens, float* __restrict ds,
                float* __restrict capped) {
  const float inverse = 1.0f / softcap;
#pragma omp simd
  for (std::int64_t j = 0; j < tokens; ++j) {
    const float before = hyperbolic_tangent(s[j] * inverse);
    const float after = hyperbolic_tangent((s[j] + ds[j]) * inverse);
    ds[j] = softcap * hyperbolic_tangent(ds[j] * inverse) * (1.0f - before * after);
    capped[j] = softcap * before;
  }
}

// ds [n], differences of the scores, become differences of the weights p:
// p (e - E) / (1 + E), e = expm1(ds), E = sum p e, or softmax(s + ds) - p where much mass moves.
inline void weight_differences(const float* __restrict s, const float* __restrict p, std::int64_t n,
                               float* __restrict ds, float* __restrict scratch) {
  if (n % kLanes) __builtin_unreachable();
  float E = 0.0f;
#pragma omp simd reduction(+ : E)
  for (std::int64_t j = 0; j < n; ++j) {
    scratch[j] = exponential(ds[j]).expm1;
    E += p[j] * scratch[j];
  }
  if (absolute(E) <= kSmall) {
    const float inverse = 1.0f / (1.0f + E);
#pragma omp simd
    for (std::int64_t j = 0; j < n; ++j) ds[j] = p[j] * (scratch[j] - E) * inverse;
    return;
  }
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) scratch[j] = s[j] + ds[j];
  softmax(scratch, n, ds);
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) ds[j] -= p[j];
}

// (q + dq).dk: what the token's own new key adds to the difference of its score.
inline float self_score(const float* __restrict q, const float* __restrict dq,
                        const float* __restrict dk, std::int64_t D) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < D; ++i) sum += (q[i] + dq[i]) * dk[i];
  return sum;
}

// out = sum + weight * dv: what the token's own new value adds.
inline void add_self(const float* __restrict sum, float weight, const float* __restrict dv,
                     std::int64_t D, float* __restrict out) {
#pragma omp simd
  for (std::int64_t i = 0; i < D; ++i) out[i] = sum[i] + weight * dv[i];
}

// The next rows lie a row's length away, out of the hardware prefetcher's sight.
inline void prefetch_rows(const AttentionArgs& a, const Task& task, std::int64_t first) {
  const std::int64_t G = a.Hq / a.Hkv, last = least(first + kRows, task.last * G);
  for (std::int64_t m = first; m < last; ++m) {
    const std::int64_t query = (m / G * a.Hq + task.head * G + m % G) * a.D;
    const std::int64_t key = (m / G * a.Hkv + task.head) * a.D;
    for (std::int64_t i = 0; i < a.D; i += 16) {
      __builtin_prefetch(a.dq + query + i);
      __builtin_prefetch(a.dk + key + i);
      __builtin_prefetch(a.dv + key + i);
      __builtin_prefetch(a.dout + query + i, 1);
    }
  }
}

// A thread's scratch, grown to the longest prompt that it meets.
struct Rows {
  Buffer ds, scratch, capped, out;
  void reserve(const SharedKeys& shared) {
    ds.reserve(kRows * shared.n);
    scratch.reserve(shared.n);
    capped.filled(shared.n, kNoScore);
    out.reserve(kRows * shared.width);
  }
};

// Up to kRows query vectors m = row * G + g of one task, starting at `first`. What is missing of
// kRows repeats the last one.
void attention_rows(const AttentionArgs& a, const SharedKeys& shared, const Task& task,
                    std::int64_t first, Rows& mine) {
  const std::int64_t G = a.Hq / a.Hkv, n = shared.n, self = shared.tokens - 1;
  const std::int64_t end = task.last * G, rows = least(kRows, end - first);
  const float *dq[kRows], *dk[kRows], *dv[kRows], *dp[kRows], *q[kRows];
  float* out[kRows];
  float weight_self[kRows];
  std::int64_t group[kRows];
  for (int m = 0; m < kRows; ++m) {
    const std::int64_t at = least(first + m, end - 1), row = at / G;
    group[m] = at % G;
    const std::int64_t head = task.head * G + group[m];
    q[m] = a.q + (task.prompt * a.Hq + head) * a.D;
    dq[m] = a.dq + (row * a.Hq + head) * a.D;
    dk[m] = a.dk + (row * a.Hkv + task.head) * a.D;
    dv[m] = a.dv + (row * a.Hkv + task.head) * a.D;
    out[m] = a.dout + (row * a.Hq + head) * a.D;
    dp[m] = mine.ds.data() + m * n;
  }
  prefetch_rows(a, task, first + kRows);
  product(dq, shared.keys.data(), a.D, n, mine.ds.data());
  for (int m = 0; m < rows; ++m) {
    float* ds = mine.ds.data() + m * n;
    ds[self] += a.scale * self_score(q[m], dq[m], dk[m], a.D);
    const float *s = shared.score.data() + group[m] * n, *p = shared.weight.data() + group[m] * n;
    if (a.softcap > 0.0f) {
      cap(a.softcap, s, shared.tokens, ds, mine.capped.data());
      s = mine.capped.data();
    }
    weight_differences(s, p, n, ds, mine.scratch.data());
    weight_self[m] = p[self] + ds[self];
  }
  product(dp, shared.values.data(), shared.tokens, shared.width, mine.out.data());
  for (int m = 0; m < rows; ++m) {
    add_self(mine.out.data() + m * shared.width, weight_self[m], dv[m], a.D, out[m]);
  }
}

}  // namespace

void attention(const AttentionArgs& a) {
  const std::vector<Task> tasks = make_tasks(a);
  const std::int64_t G = a.Hq / a.Hkv, n_tasks = static_cast<std::int64_t>(tasks.size());
#pragma omp parallel num_threads(a.num_threads)
  {
    SharedKeys shared;
    Rows mine;
#pragma omp for schedule(dynamic)
    for (std::int64_t t = 0; t < n_tasks; ++t) {
      const Task& task = tasks[t];
      shared.prepare(a, task);
      mine.reserve(shared);
      for (std::int64_t m = task.first * G; m < task.last * G; m += kRows) {
        attention_rows(a, shared, task, m, mine);
      }
    }
  }
}

}  // namespace negkernel::NEGKERNEL_ISA
