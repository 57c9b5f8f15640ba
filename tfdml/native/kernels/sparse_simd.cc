// Portable loops, and the same for AVX2, chosen when first used. Memory limits them; wider registers gain little.

#include "sparse_simd.h"

#include <cstring>

// A test defines TFDML_PORTABLE, to run the other loops on any machine.
#if defined(__x86_64__) && !defined(TFDML_PORTABLE)
#define TFDML_SPARSE_AVX2
#include <immintrin.h>
#define TFDML_AVX2 __attribute__((target("avx2")))
#endif

namespace tfdml {
namespace {

// What makes v, one value at a time. Inlined into a function of another target, loops are vectorised for it.
#define TFDML_INLINE inline __attribute__((always_inline))

struct Given {
  const float* v;

  TFDML_INLINE float Make(int64_t i) const { return v[i]; }
#if defined(TFDML_SPARSE_AVX2)
  TFDML_AVX2 TFDML_INLINE __m256 Make8(int64_t i) const { return _mm256_loadu_ps(v + i); }
#endif
};

struct Scaled {
  const float* __restrict values;
  float scale;
  float* __restrict residual;

  TFDML_INLINE float Make(int64_t i) const { return residual[i] = values[i] + scale * residual[i]; }
#if defined(TFDML_SPARSE_AVX2)
  TFDML_AVX2 TFDML_INLINE __m256 Make8(int64_t i) const {
    const __m256 old = _mm256_mul_ps(_mm256_set1_ps(scale), _mm256_loadu_ps(residual + i));
    const __m256 v = _mm256_add_ps(_mm256_loadu_ps(values + i), old);
    _mm256_storeu_ps(residual + i, v);
    return v;
  }
#endif
};

struct Accumulated {
  const float* __restrict values;
  float momentum;
  float* __restrict velocity;
  float* __restrict residual;

  TFDML_INLINE float Make(int64_t i) const {
    velocity[i] = momentum * velocity[i] + values[i];
    return residual[i] = residual[i] + velocity[i];
  }
#if defined(TFDML_SPARSE_AVX2)
  TFDML_AVX2 TFDML_INLINE __m256 Make8(int64_t i) const {
    const __m256 old = _mm256_mul_ps(_mm256_set1_ps(momentum), _mm256_loadu_ps(velocity + i));
    const __m256 u = _mm256_add_ps(old, _mm256_loadu_ps(values + i));
    const __m256 v = _mm256_add_ps(_mm256_loadu_ps(residual + i), u);
    _mm256_storeu_ps(velocity + i, u);
    _mm256_storeu_ps(residual + i, v);
    return v;
  }
#endif
};

template <typename Maker>
TFDML_INLINE int64_t FindPortable(const Maker& maker, int64_t begin, int64_t end, const Filter& filter) {
  int64_t size = 0;
  for (int64_t i = begin; i < end; ++i) {
    const float v = maker.Make(i);
    uint32_t bits;
    std::memcpy(&bits, &v, sizeof(bits));
    if (Magnitude(bits) >= filter.threshold) {
      filter.found[size++] = {filter.first + static_cast<int32_t>(i), bits};
    }
  }
  return size;
}

#if defined(TFDML_SPARSE_AVX2)
// All bits of the elements whose magnitude is above `below`.
TFDML_AVX2 TFDML_INLINE __m256i Above(__m256 v, __m256i below) {
  return _mm256_cmpgt_epi32(_mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0x7fffffff)), below);
}

// Makes v[i] to v[i + 31], and returns a bit for each.
template <typename Maker>
TFDML_AVX2 TFDML_INLINE uint32_t Above32(const Maker& maker, int64_t i, __m256i below) {
  const __m256i a = Above(maker.Make8(i), below), b = Above(maker.Make8(i + 8), below);
  const __m256i c = Above(maker.Make8(i + 16), below), d = Above(maker.Make8(i + 24), below);
  const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
  // Packing interleaves the halves of the registers.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_permutevar8x32_epi32(packed, order)));
}

// The value of the lowest bit in the mask of v[0] to v[31]; the last of them if there is none.
TFDML_INLINE Candidate Lowest(const float* v, uint32_t mask, int32_t first) {
  const int at = __builtin_ctz(mask | 0x80000000u);
  uint32_t bits;
  std::memcpy(&bits, v + at, sizeof(bits));
  return {first + at, bits};
}

// `v` is where the maker leaves what it makes. Few of 32 values are found, at places that cannot be predicted: so
// there is no branch that asks whether one of 32 is, and none whether a second is.
template <typename Maker>
TFDML_AVX2 TFDML_INLINE int64_t FindWithAvx2(const Maker& maker, const float* v, int64_t count,
                                             const Filter& filter) {
  const __m256i below = _mm256_set1_epi32(filter.threshold - 1);
  struct {
    int32_t begin;
    uint32_t mask;
  } groups[kFilterStep / 32 + 1];
  int num_groups = 0;
  int32_t i = 0;
  for (; i + 32 <= count; i += 32) {
    groups[num_groups] = {i, Above32(maker, i, below)};
    num_groups += groups[num_groups].mask != 0;
  }
  Candidate* found = filter.found;
  int64_t size = 0;
  for (int g = 0; g < num_groups; ++g) {
    const int32_t begin = groups[g].begin;
    uint32_t mask = groups[g].mask;
    found[size++] = Lowest(v + begin, mask, filter.first + begin);
    mask &= mask - 1;
    found[size] = Lowest(v + begin, mask, filter.first + begin);
    size += mask != 0;
    for (mask &= mask - 1; __builtin_expect(mask != 0, 0); mask &= mask - 1) {
      found[size++] = Lowest(v + begin, mask, filter.first + begin);
    }
  }
  return size + FindPortable(maker, i, count, {filter.first, filter.threshold, found + size});
}

// By value: what is behind a reference would be read again after every store.
TFDML_AVX2 int64_t FindAvx2(Given maker, int64_t count, Filter filter) {
  return FindWithAvx2(maker, maker.v, count, filter);
}

TFDML_AVX2 int64_t FindAvx2(Scaled maker, int64_t count, Filter filter) {
  return FindWithAvx2(maker, maker.residual, count, filter);
}

TFDML_AVX2 int64_t FindAvx2(Accumulated maker, int64_t count, Filter filter) {
  return FindWithAvx2(maker, maker.residual, count, filter);
}

TFDML_AVX2 void AddScaledAvx2(const float* __restrict values, float scale, float* __restrict residual,
                              int64_t count) {
  for (int64_t i = 0; i < count; ++i) residual[i] = values[i] + scale * residual[i];
}

bool HasAvx2() {
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
}
#endif

template <typename Maker>
int64_t Find(Maker maker, int64_t count, Filter filter) {
#if defined(TFDML_SPARSE_AVX2)
  if (HasAvx2()) return FindAvx2(maker, count, filter);
#endif
  return FindPortable(maker, 0, count, filter);
}

}  // namespace

void AddScaled(const float* values, float scale, float* residual, int64_t count) {
#if defined(TFDML_SPARSE_AVX2)
  if (HasAvx2()) return AddScaledAvx2(values, scale, residual, count);
#endif
  for (int64_t i = 0; i < count; ++i) residual[i] = values[i] + scale * residual[i];
}

int64_t FindIn(const float* v, int64_t count, const Filter& filter) {
  return Find(Given{v}, count, filter);
}

int64_t AddScaledAndFind(const float* values, float scale, float* residual, int64_t count,
                         const Filter& filter) {
  return Find(Scaled{values, scale, residual}, count, filter);
}

int64_t AddVelocityAndFind(const float* values, float momentum, float* velocity, float* residual,
                           int64_t count, const Filter& filter) {
  return Find(Accumulated{values, momentum, velocity, residual}, count, filter);
}

}  // namespace tfdml
