// The arithmetic of each kind of block: from a value to a field, and back.

#ifndef TFDML_NATIVE_KERNELS_BLOCK_CODECS_H_
#define TFDML_NATIVE_KERNELS_BLOCK_CODECS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "block_fields.h"
#include "block_kernels.h"

namespace tfdml {

constexpr float kTiny = 1e-30f;  // TINY in block_format.py

// One block of a run: its values, of which `present` are not padding, and the bits of its largest magnitude.
struct BlockInput {
  const BlockRun& run;
  const float* values;
  int64_t present;
  uint32_t largest;
};

// The integer hash "lowbias32" of Wellons, https://nullprogram.com/blog/2018/07/31/.
TFDML_INLINE uint32_t LowBias32(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

// Uniform in [0, 1).
TFDML_INLINE float Uniform(uint32_t index, BlockSeed seed) {
  const uint32_t hash = LowBias32(LowBias32(index + seed.first) ^ seed.second);
  return static_cast<float>(static_cast<int32_t>(hash >> 8)) * 0x1p-24f;
}

// Adds the second half of `x` to the first, again and again; `size` is a power of two.
TFDML_INLINE float Fold(float* x, int64_t size) {
  for (int64_t half = size / 2; half > 0; half /= 2) {
#pragma GCC ivdep
    for (int64_t i = 0; i < half; ++i) x[i] += x[i + half];
  }
  return x[0];
}

TFDML_INLINE float InverseCount(int64_t present) {
  return present > 0 ? 1.0f / static_cast<float>(present) : 0.0f;
}

// Sum of (values * factor)**2.
TFDML_INLINE float SumOfSquares(const BlockInput& in, float factor) {
  float* __restrict scratch = in.run.scratch;
  const float* __restrict values = in.values;
  const int64_t block = in.run.format.block;
  for (int64_t i = 0; i < block; ++i) {
    const float x = values[i] * factor;
    scratch[i] = x * x;
  }
  return Fold(scratch, block);
}

// Integers from -levels to levels.
template <int kFieldBits, bool kStochastic>
struct Quantiser {
  using Field = int8_t;
  static constexpr int kBits = kFieldBits;
  static constexpr int kLevels = (1 << (kBits - 1)) - 1;

  TFDML_INLINE explicit Quantiser(const BlockInput& in) : seed(in.run.seed) {
    const float largest = FloatOf(in.largest);
    if (!(largest >= kTiny)) return;
    const BlockFormat& format = in.run.format;
    float bound = largest;
    if (format.kind == BlockKind::kL2) {
      // Relative to the largest, so that no square over- or underflows.
      bound = largest * std::sqrt(SumOfSquares(in, 1.0f / largest));
    } else if (kStochastic && format.clip > 0) {
      const float mean = SumOfSquares(in, 1.0f / largest) * InverseCount(in.present);
      bound = std::min(largest, format.clip * std::sqrt(mean) * largest);
    }
    factor = kLevels / bound;
    scale = bound / kLevels;
  }

  TFDML_INLINE int32_t Encode(float value, uint32_t index) const {
    const float x = value * factor;
    if constexpr (kStochastic) {
      return Clip(Floor(x + Uniform(index, seed)));
    }
    return NearestInteger(x);  // No need to clip: |x| is at most kLevels * (1 + 2**-23).
  }

  TFDML_INLINE static float Decode(int32_t field, float scale) {
    return static_cast<float>(field) * scale;
  }

  // To [-kLevels, kLevels], without the branches that GCC makes of comparisons here.
  TFDML_INLINE static int32_t Clip(int32_t field) {
    const int32_t above = field - kLevels;
    field -= above & ~(above >> 31);
    const int32_t below = field + kLevels;
    return field - (below & (below >> 31));
  }

  BlockSeed seed;
  float factor = 0.0f;
  float scale = 0.0f;
};

struct SignCodec {
  using Field = uint8_t;
  static constexpr int kBits = 1;

  TFDML_INLINE explicit SignCodec(const BlockInput& in) {
    float* __restrict scratch = in.run.scratch;
    const float* __restrict values = in.values;
    const int64_t block = in.run.format.block;
    for (int64_t i = 0; i < block; ++i) scratch[i] = FloatOf(BitsOf(values[i]) & 0x7fffffff);
    scale = Fold(scratch, block) * InverseCount(in.present);
  }

  TFDML_INLINE int32_t Encode(float value, uint32_t) const { return value >= 0.0f ? 1 : 0; }

  TFDML_INLINE static float Decode(int32_t field, float scale) {
    return FloatOf(BitsOf(scale) ^ (static_cast<uint32_t>(field ^ 1) << 31));
  }

  float scale;
};

struct HalfCodec {
  using Field = uint16_t;
  static constexpr int kBits = 16;

  TFDML_INLINE explicit HalfCodec(const BlockInput& in) {
    if (!(FloatOf(in.largest) >= kTiny)) return;
    const uint32_t exponent = in.largest >> 23;
    factor = FloatOf((268 - exponent) << 23);
    scale = FloatOf((exponent - 14) << 23);
  }

  TFDML_INLINE int32_t Encode(float value, uint32_t) const { return HalfOf(value * factor); }

  TFDML_INLINE static float Decode(int32_t field, float scale) {
    return FloatOfHalf(static_cast<uint16_t>(field)) * scale;
  }

  float factor = 0.0f;
  float scale = 0.0f;
};

struct BFloatCodec {
  using Field = uint16_t;
  static constexpr int kBits = 16;

  TFDML_INLINE explicit BFloatCodec(const BlockInput&) {}

  TFDML_INLINE int32_t Encode(float value, uint32_t) const { return BFloatOf(value); }

  TFDML_INLINE static float Decode(int32_t field, float) {
    return FloatOf(static_cast<uint32_t>(field) << 16);
  }

  float scale = 0.0f;
};

}  // namespace tfdml

#endif  // TFDML_NATIVE_KERNELS_BLOCK_CODECS_H_
