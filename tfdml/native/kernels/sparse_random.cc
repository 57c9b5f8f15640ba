// Values at stratified random positions, which follow from a seed.

#include "sparse.h"
#include "sparse_simd.h"

namespace tfdml {
namespace {

constexpr int64_t kTile = 16384;
constexpr int64_t kTileCost = 15000;  // Nanoseconds.

// An integer hash of little bias (Wellons 2018, "Prospecting for Hash Functions").
uint32_t Lowbias32(uint32_t x) {
  x = (x ^ x >> 16) * 0x7feb352du;
  x = (x ^ x >> 15) * 0x846ca68bu;
  return x ^ x >> 16;
}

void WriteSeed(Seed seed, int32_t* words) {
  words[0] = static_cast<int32_t>(seed.s0);
  words[1] = static_cast<int32_t>(seed.s1);
}

float Sent(float v, bool scaled, int64_t size, int64_t k, int64_t j) {
  return scaled ? v * static_cast<float>(PartWidth(size, k, j)) : v;
}

}  // namespace

std::vector<int32_t> RandomPositions(int64_t size, int64_t k, Seed seed) {
  std::vector<int32_t> positions(k);
  int64_t low = 0;
  for (int64_t j = 0; j < k; ++j) {
    const int64_t high = (j + 1) * size / k;
    const uint32_t hash = Lowbias32(Lowbias32(static_cast<uint32_t>(j) + seed.s0) ^ seed.s1);
    positions[j] = static_cast<int32_t>(low + hash % static_cast<uint32_t>(high - low));
    low = high;
  }
  return positions;
}

void RandomK(const VectorView<const float>& values, int64_t k, Seed seed, bool scaled, int32_t* words) {
  WriteSeed(seed, words);
  const std::vector<int32_t> positions = RandomPositions(values.size(), k, seed);
  for (int64_t j = 0; j < k; ++j) {
    const float sent = Sent(*values.Tile(positions[j], 1, nullptr), scaled, values.size(), k, j);
    std::memcpy(words + 2 + j, &sent, sizeof(sent));
  }
}

void RandomKFeedback(const VectorView<const float>& values, const VectorView<float>& residuals,
                     float residual_scale, int64_t k, Seed seed, bool scaled, const ParallelFor& parallel,
                     int32_t* words) {
  WriteSeed(seed, words);
  const int64_t size = values.size();
  const std::vector<int32_t> positions = RandomPositions(size, k, seed);
  parallel((size + kTile - 1) / kTile, kTileCost, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      residuals.ForEachPiece(
          tile * kTile, (tile + 1) * kTile, [&](float* residual, int64_t first, int64_t count) {
            AddScaled(values.Tile(first, count, nullptr), residual_scale, residual, count);
            auto at = std::lower_bound(positions.begin(), positions.end(), first);
            for (; at != positions.end() && *at < first + count; ++at) {
              const int64_t j = at - positions.begin();
              float* v = residual + (*at - first);
              const float sent = Sent(*v, scaled, size, k, j);
              std::memcpy(words + 2 + j, &sent, sizeof(sent));
              *v -= sent;
            }
          });
    }
  });
}

}  // namespace tfdml
