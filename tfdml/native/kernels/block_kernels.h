// The innermost functions of the blockwise codecs: runs of whole blocks in contiguous memory.

#ifndef TFDML_NATIVE_KERNELS_BLOCK_KERNELS_H_
#define TFDML_NATIVE_KERNELS_BLOCK_KERNELS_H_

#include "block.h"

namespace tfdml {

// `blocks` whole blocks. Of their values the first `present` count, the rest is padding and zero.
struct BlockRun {
  const BlockFormat& format;
  BlockSeed seed;
  uint32_t index;    // of the first value, for the random numbers
  int64_t blocks;
  int64_t present;
  uint32_t* fields;  // blocks * field_words()
  float* scales;     // blocks; null without scales
  float* scratch;    // of a block's size
  uint8_t* bytes;    // of a block's size
};

struct BlockKernels {
  // Encodes `values`.
  void (*encode)(const BlockRun& run, const float* values);
  // Encodes v = values + residual_scale * residuals; residuals become what is lost.
  void (*encode_feedback)(const BlockRun& run, const float* values, float residual_scale, float* residuals);
  // Encodes `values`; they become what is lost.
  void (*encode_in_place)(const BlockRun& run, float* values);
  // sums = decoded values, or += them.
  void (*decode)(const BlockFormat& format, const uint32_t* fields, const float* scales, int64_t blocks,
                 bool add, uint8_t* bytes, float* sums);
};

}  // namespace tfdml

#endif  // TFDML_NATIVE_KERNELS_BLOCK_KERNELS_H_
