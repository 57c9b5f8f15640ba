// Runs one set of block kernels, without TensorFlow, and with the work cut as the caller wants; for ctypes.

#include <cstdint>
#include <vector>

#include "block.h"
#include "block_kernels.h"

namespace {

const tfdml::BlockKernels* Variant(int variant) {
  switch (variant) {
    case 0:
      return &tfdml::PortableBlockKernels();
    case 1:
      return tfdml::Avx2BlockKernels();
    default:
      return tfdml::Avx512BlockKernels();
  }
}

}  // namespace

extern "C" {

int Supported(int variant) { return Variant(variant) != nullptr; }

// Encodes values in two tensors, the first of `cut` values, with feedback, and decodes twice the payload. Ranges
// of work have `grain` units, the last ones first.
void RoundTrip(int variant, int kind, int bits, int64_t block, int stochastic, float clip, const float* values,
               float* residuals, int64_t size, int64_t cut, int64_t chunks, int64_t grain, int32_t* words,
               float* sums) {
  using namespace tfdml;
  const BlockKernels& kernels = *Variant(variant);
  const BlockFormat format{static_cast<BlockKind>(kind), bits, block, stochastic != 0, clip};
  const ParallelFor parallel = [grain](int64_t total, int64_t, const RangeFn& work) {
    for (int64_t end = total; end > 0; end -= grain) work(end > grain ? end - grain : 0, end);
  };
  VectorView<const float> in;
  VectorView<float> old, out;
  in.Append(values, cut);
  in.Append(values + cut, size - cut);
  old.Append(residuals, cut);
  old.Append(residuals + cut, size - cut);
  out.Append(sums, size);
  const BlockPayload payload{format, BlockSeed::Mix(1, 2), chunks, words};
  BlockEncodeFeedback(kernels, payload, in, old, 0.5f, parallel);
  const int64_t length = chunks * format.PayloadWords(size, chunks);
  std::vector<int32_t> twice(words, words + length);
  twice.insert(twice.end(), words, words + length);
  BlockDecodeSum(kernels, format, twice.data(), 2, chunks, out, 0.0f, parallel);
}

}  // extern "C"
