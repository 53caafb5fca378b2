// Differences act(x + step) - act(x) that do not cancel.
//
// What depends on the base alone is computed once per prompt (`prepare`) and read by every row of
// it (`difference`).
#pragma once

#include "common/vector_math.h"

namespace negkernel::NEGKERNEL_ISA {

struct Base {
  float value;  // act(x)
  float f;      // F(x) for act(x) = x F(x)
  float g;      // what else F needs: 1 - F(x), or |F(x) - 1/2| where F is the normal distribution
};

// x sigmoid(x). The sigmoid's difference is a product of factors in [0, 1]:
// sigmoid(b) - sigmoid(a) = -expm1(-step) sigmoid(-a) sigmoid(b) for a step up, b = a + step, and
// expm1(step) sigmoid(a) sigmoid(-b) for a step down.
struct Silu {
  static inline Base prepare(float x) {
    const float f = sigmoid(x);
    return {x * f, f, sigmoid(-x)};
  }
  static inline float difference(float x, float step, Base base) {
    return weighted(x, step, x + step, step, base);
  }
  // x sigmoid(u(x)) for u(x + step) = inner and u(x + step) - u(x) = inner_step.
  static inline float weighted(float x, float step, float inner, float inner_step, Base base) {
    const bool down = inner_step < 0.0f;
    const float e = exponential(-absolute(inner)).exp;
    const float larger = 1.0f / (1.0f + e);
    const float smaller = e * larger;
    const float f = inner < 0.0f ? smaller : larger;
    const float g = inner < 0.0f ? larger : smaller;
    const float rise = -exponential(-absolute(inner_step)).expm1;
    const float df = rise * (down ? -base.f * g : base.g * f);
    return step * f + x * df;
  }
};

// The tanh form of gelu is x sigmoid(2 c (x + k x^3)), c = sqrt(2 / pi), and the difference of the
// cubic is step * (1 + k (a^2 + a b + b^2)).
struct GeluTanh {
  static constexpr float two_c = 1.59576912f;
  static constexpr float k = 0.044715f;
  static inline float inner(float x) { return two_c * x * (1.0f + k * x * x); }
  static inline Base prepare(float x) {
    const float f = sigmoid(inner(x));
    return {x * f, f, sigmoid(-inner(x))};
  }
  static inline float difference(float x, float step, Base base) {
    const float b = x + step;
    const float inner_step = two_c * step * (1.0f + k * (x * x + x * b + b * b));
    return Silu::weighted(x, step, inner(b), inner_step, base);
  }
};

// x Phi(x), Phi the standard normal distribution. The upper tail is Q(x) = phi(x) M(x) with Mills'
// ratio M, a polynomial in t = 1 / (1 + x/4) fitted to 1.2e-9 (its slope to 7e-8) on [0, 14].
struct Gelu {
  static constexpr float inverse_root_2pi = 0.398942280f;
  static inline float density(float x) { return inverse_root_2pi * exponential(-0.5f * x * x).exp; }

  static inline float mills(float x) {
    const float t = 1.0f / (1.0f + 0.25f * x);
    float p = coefficient[0];
    for (int i = 1; i <= degree; ++i) p = p * t + coefficient[i];
    return t * p;
  }
  static inline float tail(float x) { return density(x) * mills(x); }

  // Q(lo) - Q(hi) = phi(lo) ((M(lo) - M(hi)) - M(hi) expm1((lo^2 - hi^2) / 2)) for 0 <= lo <= hi =
  // lo + width, with M(lo) - M(hi) from the polynomial's divided difference.
  static inline float between(float lo, float hi, float width) {
    const float t_lo = 1.0f / (1.0f + 0.25f * lo);
    const float t_hi = 1.0f / (1.0f + 0.25f * hi);
    float p = coefficient[0], divided = 0.0f;
    for (int i = 1; i <= degree; ++i) {
      divided = divided * t_lo + p;
      p = p * t_hi + coefficient[i];
    }
    divided = divided * t_lo + p;  // for the factor t in front of the polynomial
    const float fall = divided * 0.25f * width * t_lo * t_hi;
    const float decay = exponential(-0.5f * width * (lo + hi)).expm1;
    return density(lo) * (fall - t_hi * p * decay);
  }

  static inline Base prepare(float x) {
    const float far = absolute(x);
    const float q = tail(far);
    const float f = x < 0.0f ? q : 1.0f - q;
    return {x * f, f, between(0.0f, far, far)};
  }
  static inline float difference(float x, float step, Base base) {
    const float b = x + step;
    const float near = absolute(x), far = absolute(b);
    // On one side of 0 the way from |x| to |b| is the step; across 0 it has two parts.
    const bool crosses = (x < 0.0f) != (b < 0.0f);
    const float lo = crosses ? 0.0f : (near < far ? near : far);
    const float hi = crosses || near < far ? far : near;
    const float width = crosses ? far : absolute(step);
    const float way = between(lo, hi, width) + (crosses ? base.g : 0.0f);
    const float q = tail(far);
    return step * (b < 0.0f ? q : 1.0f - q) + x * (step < 0.0f ? -way : way);
  }

  static constexpr int degree = 10;
  static constexpr float coefficient[degree + 1] = {
      -3.126026474e-02f, 2.291430334e-01f, -6.522314992e-01f, 8.839801782e-01f,
      -6.639878361e-01f, 5.096326927e-01f, 7.873941771e-03f,  2.414748324e-01f,
      2.281217481e-01f,  2.505920059e-01f, 2.499753059e-01f};
};

struct Relu {
  static inline Base prepare(float x) { return {at_least(x, 0.0f), 0.0f, 0.0f}; }
  static inline float difference(float x, float step, Base base) {
    const float b = x + step;
    return x > 0.0f && b > 0.0f ? step : at_least(b, 0.0f) - base.value;
  }
};

}  // namespace negkernel::NEGKERNEL_ISA
