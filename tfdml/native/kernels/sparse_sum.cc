// Adds up sparse payloads: every part of the outputs is filled and added to while it is in the cache.

#include <algorithm>
#include <cstring>

#include "sparse.h"

namespace tfdml {
namespace {

constexpr int64_t kTile = 4096;
constexpr int64_t kTileCost = 2000;  // Nanoseconds.

bool Ascending(const SparsePayload& payload, int64_t size) {
  if (payload.count == 0) return true;
  bool ascending = payload.index[0] >= 0 && payload.index[payload.count - 1] < size;
  for (int64_t i = 1; i < payload.count; ++i) ascending &= payload.index[i - 1] <= payload.index[i];
  return ascending;
}

}  // namespace

bool SparseSum(const std::vector<SparsePayload>& payloads, float initial, const VectorView<float>& outputs,
               const ParallelFor& parallel) {
  for (const SparsePayload& payload : payloads) {
    if (!Ascending(payload, outputs.size())) return false;
  }
  parallel((outputs.size() + kTile - 1) / kTile, kTileCost, [&](int64_t begin, int64_t end) {
    std::vector<int64_t> next;
    next.reserve(payloads.size());
    for (const SparsePayload& payload : payloads) {
      const int32_t* stop = payload.index + payload.count;
      next.push_back(std::lower_bound(payload.index, stop, begin * kTile) - payload.index);
    }
    for (int64_t tile = begin; tile < end; ++tile) {
      outputs.ForEachPiece(
          tile * kTile, (tile + 1) * kTile, [&](float* output, int64_t first, int64_t count) {
            std::fill(output, output + count, initial);
            for (size_t p = 0; p < payloads.size(); ++p) {
              const SparsePayload& payload = payloads[p];
              int64_t i = next[p];
              for (; i < payload.count && payload.index[i] < first + count; ++i) {
                float value;
                std::memcpy(&value, payload.bits + i, sizeof(value));
                output[payload.index[i] - first] += value;
              }
              next[p] = i;
            }
          });
    }
  });
  return true;
}

}  // namespace tfdml
