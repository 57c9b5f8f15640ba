// The same loops, compiled for each set of instructions. Intrinsics would not be faster: memory is the limit.

#include "block_kernels.h"

#include "block_codecs.h"

namespace tfdml {
namespace {

enum class Mode { kEncode, kFeedback, kInPlace };

// `in` is read, or with kFeedback added to residual_scale * `lost`. `lost` gets what is lost.
template <class Codec, Mode kMode>
TFDML_INLINE void EncodeRun(const BlockRun& run, const float* in, float residual_scale, float* lost) {
  using Field = typename Codec::Field;
  constexpr bool kPacked = Codec::kBits < 8;
  const int64_t block = run.format.block;
  uint8_t* out = reinterpret_cast<uint8_t*>(run.fields);
  for (int64_t b = 0; b < run.blocks; ++b) {
    // Magnitudes are compared as integers, which compilers can do several at a time.
    int32_t largest = 0;
#pragma GCC ivdep
    for (int64_t i = 0; i < block; ++i) {
      float x = in[i];
      if constexpr (kMode == Mode::kFeedback) {
        x += residual_scale * lost[i];
        lost[i] = x;
      }
      const int32_t magnitude = static_cast<int32_t>(BitsOf(x) & 0x7fffffff);
      largest = magnitude > largest ? magnitude : largest;
    }
    const float* values = kMode == Mode::kFeedback ? lost : in;
    const int64_t present = std::min(std::max<int64_t>(run.present - b * block, 0), block);
    const Codec codec(BlockInput{run, values, present, static_cast<uint32_t>(largest)});
    const uint32_t index = run.index + static_cast<uint32_t>(b * block);
    Field* fields = reinterpret_cast<Field*>(kPacked ? run.bytes : out);
#pragma GCC ivdep
    for (int64_t i = 0; i < block; ++i) {
      const float x = values[i];
      const int32_t field = codec.Encode(x, index + static_cast<uint32_t>(i));
      fields[i] = static_cast<Field>(field);
      if constexpr (kMode != Mode::kEncode) lost[i] = x - Codec::Decode(field, codec.scale);
    }
    if constexpr (kPacked) Pack<Codec::kBits>(run.bytes, block, out);
    if (run.scales != nullptr) run.scales[b] = codec.scale;
    out += block * Codec::kBits / 8;
    in += block;
    if constexpr (kMode != Mode::kEncode) lost += block;
  }
}

template <Mode kMode>
TFDML_INLINE void EncodeAny(const BlockRun& run, const float* in, float residual_scale, float* lost) {
  const BlockFormat& format = run.format;
  switch (format.kind) {
    case BlockKind::kSign:
      return EncodeRun<SignCodec, kMode>(run, in, residual_scale, lost);
    case BlockKind::kFp16:
      return EncodeRun<HalfCodec, kMode>(run, in, residual_scale, lost);
    case BlockKind::kBf16:
      return EncodeRun<BFloatCodec, kMode>(run, in, residual_scale, lost);
    default:
      break;
  }
  switch (format.bits * 2 + format.stochastic) {
    case 5:
      return EncodeRun<Quantiser<2, true>, kMode>(run, in, residual_scale, lost);
    case 8:
      return EncodeRun<Quantiser<4, false>, kMode>(run, in, residual_scale, lost);
    case 9:
      return EncodeRun<Quantiser<4, true>, kMode>(run, in, residual_scale, lost);
    case 16:
      return EncodeRun<Quantiser<8, false>, kMode>(run, in, residual_scale, lost);
    case 17:
      return EncodeRun<Quantiser<8, true>, kMode>(run, in, residual_scale, lost);
  }
}

template <class Codec, bool kAdd>
TFDML_INLINE void DecodeRun(const BlockFormat& format, const uint32_t* words, const float* scales,
                            int64_t blocks, uint8_t* bytes, float* sums) {
  using Field = typename Codec::Field;
  const uint8_t* in = reinterpret_cast<const uint8_t*>(words);
  for (int64_t b = 0; b < blocks; ++b) {
    const float scale = scales != nullptr ? scales[b] : 0.0f;
    const Field* fields = reinterpret_cast<const Field*>(in);
    if constexpr (Codec::kBits < 8) {
      Unpack<Codec::kBits>(in, format.block, bytes);
      fields = reinterpret_cast<const Field*>(bytes);
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < format.block; ++i) {
      const float x = Codec::Decode(fields[i], scale);
      sums[i] = kAdd ? sums[i] + x : x;
    }
    in += format.block * Codec::kBits / 8;
    sums += format.block;
  }
}

template <bool kAdd>
TFDML_INLINE void DecodeAny(const BlockFormat& format, const uint32_t* words, const float* scales,
                            int64_t blocks, uint8_t* bytes, float* sums) {
  switch (format.kind) {
    case BlockKind::kSign:
      return DecodeRun<SignCodec, kAdd>(format, words, scales, blocks, bytes, sums);
    case BlockKind::kFp16:
      return DecodeRun<HalfCodec, kAdd>(format, words, scales, blocks, bytes, sums);
    case BlockKind::kBf16:
      return DecodeRun<BFloatCodec, kAdd>(format, words, scales, blocks, bytes, sums);
    default:
      break;
  }
  switch (format.bits) {
    case 2:
      return DecodeRun<Quantiser<2, false>, kAdd>(format, words, scales, blocks, bytes, sums);
    case 4:
      return DecodeRun<Quantiser<4, false>, kAdd>(format, words, scales, blocks, bytes, sums);
    case 8:
      return DecodeRun<Quantiser<8, false>, kAdd>(format, words, scales, blocks, bytes, sums);
  }
}

}  // namespace

#define TFDML_BLOCK_KERNELS(NAME, TARGET)                                                           \
  namespace {                                                                                       \
  TARGET void NAME##Encode(const BlockRun& run, const float* values) {                              \
    EncodeAny<Mode::kEncode>(run, values, 0.0f, nullptr);                                           \
  }                                                                                                 \
  TARGET void NAME##Feedback(const BlockRun& run, const float* values, float scale, float* lost) {  \
    EncodeAny<Mode::kFeedback>(run, values, scale, lost);                                           \
  }                                                                                                 \
  TARGET void NAME##InPlace(const BlockRun& run, float* values) {                                   \
    EncodeAny<Mode::kInPlace>(run, values, 0.0f, values);                                           \
  }                                                                                                 \
  TARGET void NAME##Decode(const BlockFormat& format, const uint32_t* fields, const float* scales,  \
                           int64_t blocks, bool add, uint8_t* bytes, float* sums) {                 \
    add ? DecodeAny<true>(format, fields, scales, blocks, bytes, sums)                              \
        : DecodeAny<false>(format, fields, scales, blocks, bytes, sums);                            \
  }                                                                                                 \
  const BlockKernels k##NAME = {NAME##Encode, NAME##Feedback, NAME##InPlace, NAME##Decode};         \
  }

TFDML_BLOCK_KERNELS(Portable, )
const BlockKernels& PortableBlockKernels() { return kPortable; }

#if defined(__x86_64__)
TFDML_BLOCK_KERNELS(Avx2, __attribute__((target("avx2"))))
TFDML_BLOCK_KERNELS(Avx512, __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))))

const BlockKernels* Avx2BlockKernels() {
  return __builtin_cpu_supports("avx2") ? &kAvx2 : nullptr;
}

const BlockKernels* Avx512BlockKernels() {
  const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return has ? &kAvx512 : nullptr;
}
#else
const BlockKernels* Avx2BlockKernels() { return nullptr; }
const BlockKernels* Avx512BlockKernels() { return nullptr; }
#endif

const BlockKernels& BestBlockKernels() {
  if (const BlockKernels* kernels = Avx512BlockKernels()) return *kernels;
  if (const BlockKernels* kernels = Avx2BlockKernels()) return *kernels;
  return PortableBlockKernels();
}

}  // namespace tfdml
