// Values at stratified random positions, which follow from a seed.

#include <algorithm>
#include <cstring>

#include "sparse.h"
#include "sparse_simd.h"

namespace tfdml {
namespace {

constexpr int64_t kTile = 16384;
constexpr int64_t kTileCost = 15000;  // Nanoseconds.
constexpr int64_t kPositionCost = 10;

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

// What is sent of v, which is at the position of part j.
float Sent(float v, bool scaled, int64_t size, int64_t k, int64_t j) {
  return scaled ? v * static_cast<float>(PartBegin(size, k, j + 1) - PartBegin(size, k, j)) : v;
}

}  // namespace

MixedSeed::MixedSeed(Seed seed) {
  constexpr uint32_t kOdd = 0x9e3779b9;  // Any odd number that is far from all positions.
  first = Lowbias32(seed.s0 + kOdd);
  // Hashed once more than positions are, else some would meet their own hash.
  second = Lowbias32(Lowbias32(first ^ seed.s1) + kOdd);
}

int32_t RandomPosition(int64_t size, int64_t k, int64_t j, const MixedSeed& seed) {
  const int64_t low = PartBegin(size, k, j), high = PartBegin(size, k, j + 1);
  const uint32_t hash = Lowbias32(Lowbias32(static_cast<uint32_t>(j) + seed.first) ^ seed.second);
  return static_cast<int32_t>(low + hash % static_cast<uint32_t>(high - low));
}

std::vector<int32_t> RandomPositions(int64_t size, int64_t k, Seed seed, const ParallelFor& parallel) {
  const MixedSeed mixed(seed);
  std::vector<int32_t> positions(k);
  parallel(k, kPositionCost, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) positions[j] = RandomPosition(size, k, j, mixed);
  });
  return positions;
}

void RandomK(const VectorView<const float>& values, int64_t k, Seed seed, bool scaled,
             const ParallelFor& parallel, int32_t* words) {
  WriteSeed(seed, words);
  const MixedSeed mixed(seed);
  const int64_t size = values.size();
  parallel(k, 2 * kPositionCost, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) {
      const float v = *values.Tile(RandomPosition(size, k, j, mixed), 1, nullptr);
      const float sent = Sent(v, scaled, size, k, j);
      std::memcpy(words + 2 + j, &sent, sizeof(sent));
    }
  });
}

void RandomKFeedback(const VectorView<const float>& values, const VectorView<float>& residuals,
                     float residual_scale, int64_t k, Seed seed, bool scaled, const ParallelFor& parallel,
                     int32_t* words) {
  WriteSeed(seed, words);
  const int64_t size = values.size();
  const std::vector<int32_t> positions = RandomPositions(size, k, seed, parallel);
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
