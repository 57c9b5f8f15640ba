// Cuts a payload into tiles that fit the first-level cache, and lets threads work on them.

#include "block.h"

#include <algorithm>
#include <memory>

#include "block_codecs.h"
#include "block_kernels.h"

namespace tfdml {
namespace {

constexpr int64_t kTileElements = 4096;

// Where the tiles of a payload lie. Tiles are whole blocks of one chunk.
class Tiling {
 public:
  Tiling(const BlockFormat& format, int64_t size, int64_t chunks)
      : format_(format),
        chunks_(chunks),
        blocks_(format.Blocks(size, chunks)),
        tile_blocks_(std::max<int64_t>(1, kTileElements / format.block)),
        tiles_(blocks_ / tile_blocks_ + (blocks_ % tile_blocks_ != 0)),
        payload_words_(format.PayloadWords(size, chunks)) {}

  struct Tile {
    int64_t begin, blocks, elements;   // of the vector
    int64_t fields, scales;            // first word of each
  };

  int64_t count() const { return chunks_ * tiles_; }
  int64_t words() const { return chunks_ * payload_words_; }
  int64_t max_elements() const { return tile_blocks_ * format_.block; }

  Tile At(int64_t index) const {
    const int64_t chunk = index / tiles_, first = index % tiles_ * tile_blocks_;
    const int64_t blocks = std::min(tile_blocks_, blocks_ - first);
    const int64_t words = chunk * payload_words_, field_words = format_.field_words();
    return {(chunk * blocks_ + first) * format_.block, blocks, blocks * format_.block,
            words + first * field_words, words + blocks_ * field_words + first};
  }

 private:
  const BlockFormat& format_;
  const int64_t chunks_, blocks_, tile_blocks_, tiles_, payload_words_;
};

// Memory of one thread. `values` and `residuals` hold a tile.
class Scratch {
 public:
  Scratch(const Tiling& tiling, const BlockFormat& format)
      : memory_(new float[2 * tiling.max_elements() + format.block]),
        bytes_(new uint8_t[format.block]),
        values(memory_.get()),
        residuals(values + tiling.max_elements()),
        block(residuals + tiling.max_elements()),
        bytes(bytes_.get()) {}

 private:
  const std::unique_ptr<float[]> memory_;
  const std::unique_ptr<uint8_t[]> bytes_;

 public:
  float* const values;
  float* const residuals;
  float* const block;
  uint8_t* const bytes;
};

BlockRun RunAt(const BlockPayload& payload, const Tiling::Tile& tile, int64_t size, const Scratch& scratch) {
  const BlockFormat& format = payload.format;
  uint32_t* words = reinterpret_cast<uint32_t*>(payload.words);
  float* scales = format.has_scale() ? reinterpret_cast<float*>(words + tile.scales) : nullptr;
  const int64_t present = std::max<int64_t>(std::min(size - tile.begin, tile.elements), 0);
  return {format, payload.seed,        static_cast<uint32_t>(tile.begin), tile.blocks, present,
          words + tile.fields, scales, scratch.block, scratch.bytes};
}

template <typename Fn>
void ForEachTile(const Tiling& tiling, const BlockFormat& format, const ParallelFor& parallel, const Fn& fn) {
  // About a nanosecond for an element.
  parallel(tiling.count(), tiling.max_elements(), [&](int64_t begin, int64_t end) {
    const Scratch scratch(tiling, format);
    for (int64_t i = begin; i < end; ++i) fn(tiling.At(i), scratch);
  });
}

}  // namespace

BlockSeed BlockSeed::Mix(uint32_t first, uint32_t second) {
  constexpr uint32_t kOdd = 0x9e3779b9;  // Any odd number, large enough that no position is near it.
  const uint32_t mixed = LowBias32(first + kOdd);
  // Hashed once more than the positions are, else some of them would meet their own hash.
  return {mixed, LowBias32(LowBias32(mixed ^ second) + kOdd)};
}

bool IsSupported(const BlockFormat& format) {
  const int64_t block = format.block;
  if (block < 32 || block > 65536 || (block & (block - 1)) != 0) return false;
  const int bits = format.bits;
  switch (format.kind) {
    case BlockKind::kAbsMax:
    case BlockKind::kL2:
      return (bits == 4 || bits == 8 || (bits == 2 && format.stochastic)) &&
             (format.clip == 0 || (format.stochastic && format.kind == BlockKind::kAbsMax));
    case BlockKind::kSign:
      return bits == 1 && !format.stochastic && format.clip == 0;
    case BlockKind::kFp16:
    case BlockKind::kBf16:
      return bits == 16 && !format.stochastic && format.clip == 0;
  }
  return false;
}

void BlockEncode(const BlockKernels& kernels, const BlockPayload& payload,
                 const VectorView<const float>& values, const ParallelFor& parallel) {
  const Tiling tiling(payload.format, values.size(), payload.chunks);
  ForEachTile(tiling, payload.format, parallel, [&](const Tiling::Tile& tile, const Scratch& scratch) {
    kernels.encode(RunAt(payload, tile, values.size(), scratch),
                   values.Tile(tile.begin, tile.elements, scratch.values));
  });
}

void BlockEncodeFeedback(const BlockKernels& kernels, const BlockPayload& payload,
                         const VectorView<const float>& values, const VectorView<float>& residuals,
                         float residual_scale, const ParallelFor& parallel) {
  const Tiling tiling(payload.format, values.size(), payload.chunks);
  ForEachTile(tiling, payload.format, parallel, [&](const Tiling::Tile& tile, const Scratch& scratch) {
    const float* in = values.Tile(tile.begin, tile.elements, scratch.values);
    float* lost = residuals.Tile(tile.begin, tile.elements, scratch.residuals);
    kernels.encode_feedback(RunAt(payload, tile, values.size(), scratch), in, residual_scale, lost);
    residuals.PutBack(tile.begin, tile.elements, lost, scratch.residuals);
  });
}

void BlockEncodeRemainder(const BlockKernels& kernels, const BlockPayload& payload, const float* values,
                          int64_t size, const VectorView<float>& residuals, int64_t offset,
                          const ParallelFor& parallel) {
  const Tiling tiling(payload.format, size, 1);
  const int64_t present = std::max<int64_t>(std::min(size, residuals.size() - offset), 0);
  VectorView<const float> in;
  in.Append(values, present);
  ForEachTile(tiling, payload.format, parallel, [&](const Tiling::Tile& tile, const Scratch& scratch) {
    float* lost = scratch.values;
    const float* tile_values = in.Tile(tile.begin, tile.elements, lost);
    if (tile_values != lost) std::copy(tile_values, tile_values + tile.elements, lost);
    kernels.encode_in_place(RunAt(payload, tile, present, scratch), lost);
    const int64_t begin = offset + tile.begin;
    const int64_t end = offset + std::min(tile.begin + tile.elements, present);
    residuals.ForEachPiece(begin, end, [&](float* data, int64_t first, int64_t count) {
      for (int64_t i = 0; i < count; ++i) data[i] += lost[first - begin + i];
    });
  });
}

void BlockDecodeSum(const BlockKernels& kernels, const BlockFormat& format, const int32_t* words,
                    int64_t payloads, int64_t chunks, const VectorView<float>& sums, float initial,
                    const ParallelFor& parallel) {
  const Tiling tiling(format, sums.size(), chunks);
  const bool known = payloads == 0 || initial != initial;
  ForEachTile(tiling, format, parallel, [&](const Tiling::Tile& tile, const Scratch& scratch) {
    if (tile.begin >= sums.size()) return;
    float* total = sums.Tile(tile.begin, tile.elements, scratch.values);
    if (known) std::fill(total, total + tile.elements, initial);
    for (int64_t p = 0; p < payloads && !known; ++p) {
      const uint32_t* payload = reinterpret_cast<const uint32_t*>(words + p * tiling.words());
      const float* scales = format.has_scale() ? reinterpret_cast<const float*>(payload + tile.scales) : nullptr;
      kernels.decode(format, payload + tile.fields, scales, tile.blocks, p > 0, scratch.bytes, total);
    }
    sums.PutBack(tile.begin, tile.elements, total, scratch.values);
  });
}

}  // namespace tfdml
