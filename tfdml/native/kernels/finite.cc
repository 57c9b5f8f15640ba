// Reads every value once, and no more after the first that is not finite.

#include "finite.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

namespace tfdml {
namespace {

constexpr int64_t kTileElements = 1 << 14;

#define TFDML_INLINE inline __attribute__((always_inline))

TFDML_INLINE bool FiniteLoop(const float* values, int64_t count) {
  constexpr int32_t kExponent = 0x7f800000;
  int32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    int32_t bits;
    std::memcpy(&bits, values + i, sizeof bits);
    const int32_t exponent = bits & kExponent;
    largest = exponent > largest ? exponent : largest;
  }
  return largest < kExponent;
}

bool FinitePortable(const float* values, int64_t count) { return FiniteLoop(values, count); }

#if defined(__x86_64__)
__attribute__((target("avx2"))) bool FiniteAvx2(const float* values, int64_t count) {
  return FiniteLoop(values, count);
}
#endif

bool Finite(const float* values, int64_t count) {
#if defined(__x86_64__)
  static const bool has_avx2 = __builtin_cpu_supports("avx2");
  if (has_avx2) return FiniteAvx2(values, count);
#endif
  return FinitePortable(values, count);
}

}  // namespace

bool AllFinite(const VectorView<const float>& values, const ParallelFor& parallel) {
  const int64_t tiles = (values.size() + kTileElements - 1) / kTileElements;
  std::atomic<bool> finite(true);
  parallel(tiles, kTileElements / 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end && finite.load(std::memory_order_relaxed); ++i) {
      values.ForEachPiece(i * kTileElements, (i + 1) * kTileElements,
                          [&](const float* data, int64_t, int64_t count) {
                            if (!Finite(data, count)) finite.store(false, std::memory_order_relaxed);
                          });
    }
  });
  return finite.load();
}

}  // namespace tfdml
