#include "linear/linear_cpu.h"

#include <algorithm>
#include <new>

#include "linear/pack.h"

namespace negkernel::NEGKERNEL_ISA {
namespace {

constexpr std::int64_t kPanel = 2 * kLanes;  // rows a register tile
constexpr std::int64_t kRows = 512;  // rows a pass: kDepth of so many are 1 MB, near the L2 cache
constexpr std::int64_t kGroup = 4;   // tiles of columns that share a panel while it is cached
constexpr std::align_val_t kLine{64};

// One pass takes some rows and some k.
struct Pass {
  std::int64_t row, rows, k, depth;

  std::int64_t pairs() const { return parts(depth, kBlock) * kLanes; }
  std::int64_t panels() const { return parts(rows, kPanel); }
  // The last panel may be half as wide.
  std::int64_t width(std::int64_t panel) const {
    return rows - panel * kPanel > kLanes ? kPanel : kLanes;
  }
  Pair* at(Pair* packed, std::int64_t panel) const { return packed + panel * kPanel * pairs(); }
};

void pack_panel(const LinearArgs& a, const Pass& pass, std::int64_t panel, Pair* packed) {
  const std::int64_t first = panel * kPanel;
  pack_rows(a.x + (pass.row + first) * a.x_stride + pass.k, a.x_stride, pass.rows - first,
            pass.depth, pass.width(panel), pass.at(packed, panel));
}

// Tiles `first` to `last` of the columns for all rows of a pass.
template <class Weight, bool transposed>
void multiply(const LinearArgs& a, const Pass& pass, Pair* rows, std::int64_t first,
              std::int64_t last, Pair* weight) {
  const auto columns = [&](std::int64_t t) {
    return std::min<std::int64_t>(kColumns, a.N - t * kColumns);
  };
  for (std::int64_t t = first; t < last; ++t) {
    const Weight* from = static_cast<const Weight*>(a.weight);
    Pair* to = weight + (t - first) * kTile;
    if (transposed) {
      from += pass.k * a.weight_stride + t * kColumns;
      pack_transposed(from, a.weight_stride, columns(t), pass.depth, to);
    } else {
      from += t * kColumns * a.weight_stride + pass.k;
      pack_columns(from, a.weight_stride, columns(t), pass.depth, to);
    }
  }
  constexpr int column_step = transposed ? 1 : kColumnStep;
  constexpr int pair_step = transposed ? kLanes : 1;
  for (std::int64_t panel = 0; panel < pass.panels(); ++panel) {
    const Pair* x = pass.at(rows, panel);
    const std::int64_t row = panel * kPanel;
    for (std::int64_t t = first; t < last; ++t) {
      const Pair* w = weight + (t - first) * kTile;
      const Corner to{a.out + (pass.row + row) * a.N + t * kColumns, a.N,
                      static_cast<int>(std::min(kPanel, pass.rows - row)),
                      static_cast<int>(columns(t)), pass.k > 0};
      if (pass.width(panel) == kPanel) {
        tile<2, column_step, pair_step>(x, w, pass.pairs(), to);
      } else {
        tile<1, column_step, pair_step>(x, w, pass.pairs(), to);
      }
    }
  }
}

template <class Weight, bool transposed>
void product(const LinearArgs& a) {
  // Passes of equal size, none of them a small rest.
  const std::int64_t row_share = parts(parts(a.M, parts(a.M, kRows)), kPanel) * kPanel;
  const std::int64_t k_share = parts(parts(a.K, parts(a.K, kDepth)), kBlock) * kBlock;
  const auto pass = [&](std::int64_t row, std::int64_t k) {
    return Pass{row, std::min(row_share, a.M - row), k, std::min(k_share, a.K - k)};
  };
  // As many groups as give every thread the same number, of kGroup tiles at most.
  const std::int64_t tiles = parts(a.N, kColumns), threads = a.num_threads;
  const std::int64_t groups = std::min(tiles, parts(parts(tiles, kGroup), threads) * threads);
  // All k of a pass's rows, so that threads wait for each other but once.
  Pair* rows = new (kLine) Pair[row_share * parts(a.K, k_share) * k_share / 2];
  const auto part = [&](std::int64_t k) { return rows + row_share * k / 2; };
#pragma omp parallel num_threads(a.num_threads)
  {
    alignas(64) Pair weight[kGroup * kTile];
    for (std::int64_t row = 0; row < a.M; row += row_share) {
#pragma omp for schedule(static)
      for (std::int64_t panel = 0; panel < pass(row, 0).panels(); ++panel) {
        for (std::int64_t k = 0; k < a.K; k += k_share) pack_panel(a, pass(row, k), panel, part(k));
      }
#pragma omp for schedule(static)
      for (std::int64_t group = 0; group < groups; ++group) {
        const std::int64_t first = group * tiles / groups, last = (group + 1) * tiles / groups;
        for (std::int64_t k = 0; k < a.K; k += k_share) {
          multiply<Weight, transposed>(a, pass(row, k), part(k), first, last, weight);
        }
      }
    }
  }
  ::operator delete[](rows, kLine);
}

}  // namespace

void linear(const LinearArgs& a) {
  if (a.half) {
    a.transposed ? product<std::uint16_t, true>(a) : product<std::uint16_t, false>(a);
  } else {
    a.transposed ? product<float, true>(a) : product<float, false>(a);
  }
}

}  // namespace negkernel::NEGKERNEL_ISA
