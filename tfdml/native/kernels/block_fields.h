// Packs bytes into fields of 1 to 8 bits and back, and converts single values. Plain branch-free loops: the
// compiler makes vector instructions of them, for whatever function they are inlined into.

#ifndef TFDML_NATIVE_KERNELS_BLOCK_FIELDS_H_
#define TFDML_NATIVE_KERNELS_BLOCK_FIELDS_H_

#include <cstdint>
#include <cstring>

namespace tfdml {

#define TFDML_INLINE inline __attribute__((always_inline))

TFDML_INLINE uint32_t BitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

TFDML_INLINE float FloatOf(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// The low bits of `size` bytes, a multiple of 32, as fields that follow each other, the first in the lowest bits.
template <int kBits>
TFDML_INLINE void Pack(const uint8_t* __restrict bytes, int64_t size, uint8_t* __restrict out) {
  static_assert(kBits == 1 || kBits == 2 || kBits == 4, "bytes need no packing");
  if constexpr (kBits == 4) {
    for (int64_t i = 0; i < size / 2; ++i) {
      uint16_t x;
      std::memcpy(&x, bytes + 2 * i, sizeof x);
      out[i] = static_cast<uint8_t>((x & 0x0f) | ((x >> 4) & 0xf0));
    }
  } else if constexpr (kBits == 2) {
    for (int64_t i = 0; i < size / 4; ++i) {
      uint32_t x;
      std::memcpy(&x, bytes + 4 * i, sizeof x);
      out[i] = static_cast<uint8_t>((x & 0x03) | ((x >> 6) & 0x0c) | ((x >> 12) & 0x30) |
                                    ((x >> 18) & 0xc0));
    }
  } else {
    for (int64_t i = 0; i < size / 8; ++i) {
      uint64_t x;
      std::memcpy(&x, bytes + 8 * i, sizeof x);
      // Bit 0 of byte k goes to bit 56 + k, and nothing else goes there.
      out[i] = static_cast<uint8_t>(((x & 0x0101010101010101) * 0x0102040810204080) >> 56);
    }
  }
}

// The opposite, sign extended; a single bit becomes 0 or 1.
template <int kBits>
TFDML_INLINE void Unpack(const uint8_t* __restrict in, int64_t size, uint8_t* __restrict bytes) {
  static_assert(kBits == 1 || kBits == 2 || kBits == 4, "bytes need no unpacking");
  if constexpr (kBits == 4) {
    for (int64_t i = 0; i < size / 2; ++i) {
      const uint16_t x = in[i];
      const uint16_t y = (x | (x << 4)) & 0x0f0f;
      std::memcpy(bytes + 2 * i, &y, sizeof y);
    }
    for (int64_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>((bytes[i] ^ 8) - 8);
  } else if constexpr (kBits == 2) {
    for (int64_t i = 0; i < size / 4; ++i) {
      const uint32_t x = in[i];
      const uint32_t y = (x | (x << 12)) & 0x000f000f;
      const uint32_t z = (y | (y << 6)) & 0x03030303;
      std::memcpy(bytes + 4 * i, &z, sizeof z);
    }
    for (int64_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>((bytes[i] ^ 2) - 2);
  } else {
    for (int64_t i = 0; i < size / 8; ++i) {
      // A copy in every byte, of which byte k keeps bit k; adding 0x7f carries it to the top bit.
      const uint64_t x = (in[i] * 0x0101010101010101) & 0x8040201008040201;
      const uint64_t y = ((x + 0x7f7f7f7f7f7f7f7f - (x & 0x8080808080808080)) | x) >> 7;
      const uint64_t z = y & 0x0101010101010101;
      std::memcpy(bytes + 8 * i, &z, sizeof z);
    }
  }
}

// Adding this makes a float of less than 2**22 an integer, rounded to nearest even, and its low bits those of
// that integer in two's complement.
constexpr float kRound = 12582912.0f;  // 1.5 * 2**23

TFDML_INLINE int32_t NearestInteger(float x) {
  return static_cast<int32_t>(BitsOf(x + kRound) - BitsOf(kRound));
}

TFDML_INLINE int32_t Floor(float x) {
  return NearestInteger(x) - ((x + kRound) - kRound > x ? 1 : 0);
}

// IEEE half precision, rounded to nearest even, of a value of less than 2**16 in magnitude.
TFDML_INLINE uint16_t HalfOf(float x) {
  const uint32_t bits = BitsOf(x);
  const uint32_t magnitude = bits & 0x7fffffff;
  const uint32_t smallest = 113u << 23;  // 2**-14; below it halves have the distances that they have at it
  const uint32_t power = (magnitude & 0x7f800000) > smallest ? magnitude & 0x7f800000 : smallest;
  // 2**13 times the power of two: floats have the distances there that halves have at `power`.
  const uint32_t shifted = power + (13u << 23);
  const uint32_t steps = BitsOf(FloatOf(magnitude) + FloatOf(shifted)) - shifted;
  return static_cast<uint16_t>(((bits >> 16) & 0x8000) | (((power - smallest) >> 13) + steps));
}

TFDML_INLINE float FloatOfHalf(uint16_t half) {
  const int32_t exponent = (half >> 10) & 31;
  const int32_t steps = (half & 0x3ff) + (exponent > 0 ? 1024 : 0);
  const uint32_t step = static_cast<uint32_t>((exponent > 0 ? exponent : 1) + 102) << 23;
  const float magnitude = static_cast<float>(steps) * FloatOf(step);
  return FloatOf(BitsOf(magnitude) | (static_cast<uint32_t>(half & 0x8000) << 16));
}

// bfloat16, rounded to nearest even.
TFDML_INLINE uint16_t BFloatOf(float x) {
  const uint32_t bits = BitsOf(x);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

}  // namespace tfdml

#endif  // TFDML_NATIVE_KERNELS_BLOCK_FIELDS_H_
