// The blockwise codecs: what they compute, over tensors that are seen as one vector.
//
// block_format.py describes the payload, reference.py says the same in TensorFlow's ops. Bits agree: every
// rounding happens in the order that is written there, without fused multiply-add.

#ifndef TFDML_NATIVE_KERNELS_BLOCK_H_
#define TFDML_NATIVE_KERNELS_BLOCK_H_

#include <cstdint>

#include "parallel.h"
#include "vector_view.h"

namespace tfdml {

enum class BlockKind { kAbsMax, kL2, kSign, kFp16, kBf16 };

struct BlockFormat {
  BlockKind kind;
  int bits;         // of a field: 2 (if stochastic), 4 or 8 with kAbsMax and kL2, 1 with kSign, else 16
  int64_t block;    // values; a power of two of at least 32
  bool stochastic;  // kAbsMax and kL2
  float clip;       // kAbsMax with `stochastic`: in root mean squares, 0 for none

  int levels() const { return (1 << (bits - 1)) - 1; }
  bool has_scale() const { return kind != BlockKind::kBf16; }
  int64_t field_words() const { return block * bits / 32; }  // of one block
  int64_t Blocks(int64_t size, int64_t chunks) const {       // of one chunk
    const int64_t blocks = (size + block - 1) / block;
    return (blocks + chunks - 1) / chunks;
  }
  int64_t PayloadWords(int64_t size, int64_t chunks) const {
    return Blocks(size, chunks) * (field_words() + (has_scale() ? 1 : 0));
  }
};

// Whether there are kernels for it.
bool IsSupported(const BlockFormat& format);

// What the random numbers depend on, besides the position. Both words depend on the first word of the op's seed:
// of seeds that count steps, one must not give the numbers of the next, moved by a place.
struct BlockSeed {
  static BlockSeed Mix(uint32_t first, uint32_t second);

  uint32_t first, second;
};

// The kernels for one set of instructions; all give the same bits.
struct BlockKernels;
const BlockKernels& PortableBlockKernels();
const BlockKernels* Avx2BlockKernels();    // null where the processor cannot
const BlockKernels* Avx512BlockKernels();  // null where the processor cannot
const BlockKernels& BestBlockKernels();

// Which values become which words: `words` has room for chunks * PayloadWords(size, chunks).
struct BlockPayload {
  BlockFormat format;
  BlockSeed seed;
  int64_t chunks;
  int32_t* words;
};

// Encodes `values`.
void BlockEncode(const BlockKernels& kernels, const BlockPayload& payload,
                 const VectorView<const float>& values, const ParallelFor& parallel);

// Encodes v = values + residual_scale * residuals; residuals become v - decoded(v).
void BlockEncodeFeedback(const BlockKernels& kernels, const BlockPayload& payload,
                         const VectorView<const float>& values, const VectorView<float>& residuals,
                         float residual_scale, const ParallelFor& parallel);

// Encodes a chunk of `size` values that begins at `offset` of the residuals, and adds what is lost to them.
// Values past the end of the residuals count as padding.
void BlockEncodeRemainder(const BlockKernels& kernels, const BlockPayload& payload, const float* values,
                          int64_t size, const VectorView<float>& residuals, int64_t offset,
                          const ParallelFor& parallel);

// Decodes `payloads` payloads of `chunks` chunks each and adds them up, in order. A NaN in `initial` makes
// every sum NaN; otherwise it must be 0.
void BlockDecodeSum(const BlockKernels& kernels, const BlockFormat& format, const int32_t* words,
                    int64_t payloads, int64_t chunks, const VectorView<float>& sums, float initial,
                    const ParallelFor& parallel);

}  // namespace tfdml

#endif  // TFDML_NATIVE_KERNELS_BLOCK_H_
