#include "kernels/read_plan.h"

#include <algorithm>
#include <numeric>

namespace tfdml {

std::vector<int64_t> AscendingPlaces(const int64_t* ids, int64_t num_ids) {
  std::vector<int64_t> places(num_ids);
  std::iota(places.begin(), places.end(), 0);
  if (!std::is_sorted(ids, ids + num_ids)) {
    std::sort(places.begin(), places.end(), [ids](int64_t a, int64_t b) {
      return ids[a] != ids[b] ? ids[a] < ids[b] : a < b;
    });
  }
  return places;
}

std::vector<PlannedRead> PlanReads(const std::vector<WantedRecord>& records, uint64_t max_gap, uint64_t max_bytes) {
  std::vector<PlannedRead> reads;
  reads.reserve(records.size());
  for (size_t i = 0; i < records.size(); ++i) {
    const WantedRecord& record = records[i];
    const uint64_t end = record.offset + record.size;
    if (!reads.empty() && records[i - 1].shard == record.shard) {
      PlannedRead& last = reads.back();
      const uint64_t last_end = last.offset + last.size;
      if (record.offset <= last_end + max_gap && end - last.offset <= max_bytes) {
        last.size = std::max(last_end, end) - last.offset;
        last.end = i + 1;
        continue;
      }
    }
    reads.push_back({i, i + 1, record.offset, record.size});
  }
  return reads;
}

}  // namespace tfdml
