// Elementary functions in a form that the compiler turns into vector code: no branches, no tables,
// no calls. All are float32 with errors of a few units in the last place and let NaN through.
#pragma once

#include <cstdint>
#include <cstring>

namespace negkernel::NEGKERNEL_ISA {

static inline float from_bits(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

static inline std::uint32_t to_bits(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

// The comparisons are written so that a NaN is kept.
static inline float at_least(float x, float low) { return x < low ? low : x; }
static inline float at_most(float x, float high) { return x > high ? high : x; }
static inline float absolute(float x) { return from_bits(to_bits(x) & 0x7fffffffu); }

struct Exponential {
  float exp;
  float expm1;  // accurate relative to itself, also near 0
};

// exp(x) and exp(x) - 1 for the price of one, for x clamped to [-87, 88]: below, exp is 1e-38 and
// expm1 rounds to -1; above, both stay finite at 1.7e38.
//
// x = n ln 2 + r, |r| <= ln(2)/2; expm1(r) = r + r^2 P(r) with P fitted to a relative error of
// 1.4e-8; then exp(x) = 2^n + 2^n expm1(r).
static inline Exponential exponential(float x) {
  const float round_to_integer = 12582912.0f;  // 1.5 * 2^23: the sum's last bit weighs 1
  x = at_most(at_least(x, -87.0f), 88.0f);
  const float shifted = x * 1.44269504f + round_to_integer;
  const float n = shifted - round_to_integer;
  const float scale = from_bits((to_bits(shifted) - to_bits(round_to_integer) + 127u) << 23);
  float r = x - n * 0.693359375f;  // ln 2 in two parts, the first exact in products with n
  r = r + n * 2.12194440e-4f;
  float p = 1.385809970e-03f;
  p = p * r + 8.366740131e-03f;
  p = p * r + 4.166760014e-02f;
  p = p * r + 1.666654149e-01f;
  p = p * r + 4.999999673e-01f;
  const float q = r + r * r * p;
  return {scale + scale * q, scale * q + (scale - 1.0f)};
}

// 1 / (1 + exp(-x)).
static inline float sigmoid(float x) {
  const float e = exponential(-absolute(x)).exp;
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

}  // namespace negkernel::NEGKERNEL_ISA
