// Portable loops, and the same for AVX2, chosen when first used. Memory limits them; wider registers gain nothing.

#include "sparse_simd.h"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#define TFDML_AVX2 __attribute__((target("avx2")))
#endif

namespace tfdml {
namespace {

// Inlined into a function of another target, the compiler vectorises these for it.
#define TFDML_INLINE inline __attribute__((always_inline))

TFDML_INLINE void AddScaledLoop(const float* __restrict values, float scale, float* __restrict residual,
                                int64_t count) {
  for (int64_t i = 0; i < count; ++i) residual[i] = values[i] + scale * residual[i];
}

TFDML_INLINE void AddVelocityLoop(const float* __restrict values, float momentum, float* __restrict velocity,
                                  float* __restrict residual, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    velocity[i] = momentum * velocity[i] + values[i];
    residual[i] = residual[i] + velocity[i];
  }
}

TFDML_INLINE int64_t FilterLoop(const float* v, int64_t begin, int64_t end, int32_t first, int32_t threshold,
                                Candidate* found) {
  int64_t size = 0;
  for (int64_t i = begin; i < end; ++i) {
    uint32_t bits;
    std::memcpy(&bits, v + i, sizeof(bits));
    if (Magnitude(bits) >= threshold) found[size++] = {first + static_cast<int32_t>(i), bits};
  }
  return size;
}

#if defined(__x86_64__)
TFDML_AVX2 void AddScaledAvx2(const float* values, float scale, float* residual, int64_t count) {
  AddScaledLoop(values, scale, residual, count);
}

TFDML_AVX2 void AddVelocityAvx2(const float* values, float momentum, float* velocity, float* residual,
                                int64_t count) {
  AddVelocityLoop(values, momentum, velocity, residual, count);
}

TFDML_AVX2 inline uint32_t Above(const float* v, __m256i below) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(v));
  const __m256i magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff));
  return static_cast<uint32_t>(
      _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(magnitude, below))));
}

TFDML_AVX2 int64_t FilterAvx2(const float* v, int64_t count, int32_t first, int32_t threshold,
                              Candidate* found) {
  const __m256i below = _mm256_set1_epi32(threshold - 1);
  int64_t size = 0, i = 0;
  for (; i + 32 <= count; i += 32) {
    uint32_t mask = Above(v + i, below) | Above(v + i + 8, below) << 8 | Above(v + i + 16, below) << 16 |
                    Above(v + i + 24, below) << 24;
    while (mask != 0) {
      const int64_t at = i + __builtin_ctz(mask);
      uint32_t bits;
      std::memcpy(&bits, v + at, sizeof(bits));
      found[size++] = {first + static_cast<int32_t>(at), bits};
      mask &= mask - 1;
    }
  }
  return size + FilterLoop(v, i, count, first, threshold, found + size);
}

bool HasAvx2() {
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
}
#endif

}  // namespace

void AddScaled(const float* values, float scale, float* residual, int64_t count) {
#if defined(__x86_64__)
  if (HasAvx2()) return AddScaledAvx2(values, scale, residual, count);
#endif
  AddScaledLoop(values, scale, residual, count);
}

void AddVelocity(const float* values, float momentum, float* velocity, float* residual, int64_t count) {
#if defined(__x86_64__)
  if (HasAvx2()) return AddVelocityAvx2(values, momentum, velocity, residual, count);
#endif
  AddVelocityLoop(values, momentum, velocity, residual, count);
}

int64_t Filter(const float* v, int64_t count, int32_t first, int32_t threshold, Candidate* found) {
#if defined(__x86_64__)
  if (HasAvx2()) return FilterAvx2(v, count, first, threshold, found);
#endif
  return FilterLoop(v, 0, count, first, threshold, found);
}

}  // namespace tfdml
