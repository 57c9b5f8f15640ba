// Loops over vectors of eight floats, which the compiler translates for AVX2 and for the CPUs that all have.

#include "lowrank_loops.h"

// A test defines TFDML_PORTABLE, to run the other loops on any machine.
#if defined(__x86_64__) && !defined(TFDML_PORTABLE)
#define TFDML_LOWRANK_AVX2
#endif
// Inlined into a function of another target, the compiler translates these for it.
#define TFDML_INLINE inline __attribute__((always_inline))

namespace tfdml {
namespace {

// Eight lanes on every CPU, so that sums have the same order; in memory they need not be aligned.
constexpr int64_t kLanes = 8;
typedef float Lanes __attribute__((vector_size(32)));
typedef float LanesInMemory __attribute__((vector_size(32), aligned(4), may_alias));

// Columns of the thin matrices that are multiplied at a time: with two rows of M they fill the registers of AVX2.
constexpr int64_t kGroup = 4;

TFDML_INLINE LanesInMemory& At(float* data) { return *reinterpret_cast<LanesInMemory*>(data); }
TFDML_INLINE const LanesInMemory& At(const float* data) {
  return *reinterpret_cast<const LanesInMemory*>(data);
}

TFDML_INLINE float Sum(const Lanes& v) {
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

// Below, Tile<R, K>(i, k) works on R rows from row i on, and on K columns of the thin matrices from column k on.

struct Project {
  Extent extent;
  const float* gradient;
  float scale;
  float* matrix;
  const float* right;
  int64_t stride;
  float* left;

  template <int R, int K>
  TFDML_INLINE void Tile(int64_t i, int64_t k) const {
    if (k == 0) {
      Multiply<R, K, true>(i, k);
    } else {
      Multiply<R, K, false>(i, k);
    }
  }

  template <int R, int K, bool add>
  TFDML_INLINE void Multiply(int64_t i, int64_t first) const {
    const int64_t columns = extent.columns, skip = stride;
    const float* const g = gradient + i * columns;
    const float* const q = right + first * stride;
    float* const m = matrix + i * columns;
    const float s = scale;
    Lanes sums[R][K] = {};
    float rest[R][K] = {};
    int64_t j = 0;
    for (; j + kLanes <= columns; j += kLanes) {
      Lanes v[R];
      for (int r = 0; r < R; ++r) {
        const int64_t at = r * columns + j;
        v[r] = add ? At(g + at) + s * At(m + at) : At(m + at);
        if (add) At(m + at) = v[r];
      }
      for (int k = 0; k < K; ++k) {
        for (int r = 0; r < R; ++r) sums[r][k] += v[r] * At(q + k * skip + j);
      }
    }
    for (; j < columns; ++j) {
      for (int r = 0; r < R; ++r) {
        const int64_t at = r * columns + j;
        if (add) m[at] = g[at] + s * m[at];
        for (int k = 0; k < K; ++k) rest[r][k] += m[at] * q[k * skip + j];
      }
    }
    for (int r = 0; r < R; ++r) {
      for (int k = 0; k < K; ++k) left[(i + r) * extent.rank + first + k] = Sum(sums[r][k]) + rest[r][k];
    }
  }
};

// Of the columns [begin, end) of M.
struct Transposed {
  Extent extent;
  int64_t begin, end;
  const float* matrix;
  const float* left;
  float* right;
  int64_t stride;

  template <int R, int K>
  TFDML_INLINE void Tile(int64_t i, int64_t first) const {
    const int64_t columns = extent.columns, skip = stride, stop = end;
    const float* const m = matrix + i * columns;
    float* const q = right + first * stride;
    float p[R][K];
    for (int r = 0; r < R; ++r) {
      for (int k = 0; k < K; ++k) p[r][k] = left[(i + r) * extent.rank + first + k];
    }
    int64_t j = begin;
    for (; j + kLanes <= stop; j += kLanes) {
      for (int k = 0; k < K; ++k) {
        Lanes sum = p[0][k] * At(m + j);
        for (int r = 1; r < R; ++r) sum += p[r][k] * At(m + r * columns + j);
        At(q + k * skip + j) += sum;
      }
    }
    for (; j < stop; ++j) {
      for (int k = 0; k < K; ++k) {
        float sum = p[0][k] * m[j];
        for (int r = 1; r < R; ++r) sum += p[r][k] * m[r * columns + j];
        q[k * skip + j] += sum;
      }
    }
  }
};

enum Change { kSet, kAdd, kSubtract };

struct Product {
  Extent extent;
  const float* left;
  const float* right;
  int64_t stride;
  Change change;
  float initial;
  float* matrix;

  template <int R, int K>
  TFDML_INLINE void Tile(int64_t i, int64_t k) const {
    if (change == kSubtract) {
      Multiply<R, K, kSubtract>(i, k);
    } else if (k == 0) {
      Multiply<R, K, kSet>(i, k);
    } else {
      Multiply<R, K, kAdd>(i, k);
    }
  }

  template <int R, int K, Change how>
  TFDML_INLINE void Multiply(int64_t i, int64_t first) const {
    const int64_t columns = extent.columns, skip = stride;
    const float* const q = right + first * stride;
    float* const m = matrix + i * columns;
    const float start = initial;
    float p[R][K];
    for (int r = 0; r < R; ++r) {
      for (int k = 0; k < K; ++k) p[r][k] = left[(i + r) * extent.rank + first + k];
    }
    int64_t j = 0;
    for (; j + kLanes <= columns; j += kLanes) {
      for (int r = 0; r < R; ++r) {
        LanesInMemory& to = At(m + r * columns + j);
        Lanes sum = p[r][0] * At(q + j);
        if (how == kSet) sum = start + sum;
        if (how == kAdd) sum = to + sum;
        for (int k = 1; k < K; ++k) sum += p[r][k] * At(q + k * skip + j);
        to = how == kSubtract ? to - sum : sum;
      }
    }
    for (; j < columns; ++j) {
      for (int r = 0; r < R; ++r) {
        float& to = m[r * columns + j];
        float sum = p[r][0] * q[j];
        if (how == kSet) sum = start + sum;
        if (how == kAdd) sum = to + sum;
        for (int k = 1; k < K; ++k) sum += p[r][k] * q[k * skip + j];
        to = how == kSubtract ? to - sum : sum;
      }
    }
  }
};

template <int R, typename Tiles>
TFDML_INLINE void ForColumns(const Tiles& tiles, int64_t i) {
  const int64_t rank = tiles.extent.rank;
  for (int64_t k = 0; k < rank; k += kGroup) {
    switch (rank - k) {
      case 1: tiles.template Tile<R, 1>(i, k); break;
      case 2: tiles.template Tile<R, 2>(i, k); break;
      case 3: tiles.template Tile<R, 3>(i, k); break;
      default: tiles.template Tile<R, kGroup>(i, k);
    }
  }
}

template <typename Tiles>
TFDML_INLINE void ForTiles(const Tiles& tiles) {
  int64_t i = 0;
  for (; i + 2 <= tiles.extent.rows; i += 2) ForColumns<2>(tiles, i);
  if (i < tiles.extent.rows) ForColumns<1>(tiles, i);
}

#if defined(TFDML_LOWRANK_AVX2)
template <typename Tiles>
__attribute__((target("avx2"))) void ForTilesAvx2(const Tiles& tiles) {
  ForTiles(tiles);
}

bool HasAvx2() {
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
}
#endif

template <typename Tiles>
void Run(const Tiles& tiles) {
#if defined(TFDML_LOWRANK_AVX2)
  if (HasAvx2()) return ForTilesAvx2(tiles);
#endif
  ForTiles(tiles);
}

}  // namespace

void ProjectRows(Extent extent, const float* gradient, float scale, float* matrix, const float* right,
                 int64_t stride, float* left) {
  Run(Project{extent, gradient, scale, matrix, right, stride, left});
}

void AddTransposed(Extent extent, int64_t begin, int64_t end, const float* matrix, const float* left,
                   float* right, int64_t stride) {
  Run(Transposed{extent, begin, end, matrix, left, right, stride});
}

void SubtractProduct(Extent extent, const float* left, const float* right, int64_t stride, float* matrix) {
  Run(Product{extent, left, right, stride, kSubtract, 0.0f, matrix});
}

void SetProduct(Extent extent, const float* left, const float* right, int64_t stride, float initial,
                float* matrix) {
  Run(Product{extent, left, right, stride, kSet, initial, matrix});
}

}  // namespace tfdml
