// Which reads get a batch of records: in the order of the file, neighbours in one read.

#ifndef TFDML_NATIVE_KERNELS_READ_PLAN_H_
#define TFDML_NATIVE_KERNELS_READ_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tfdml {

// A TFRecord: its length (8 bytes), the length's checksum (4), the data, the data's checksum (4).
constexpr uint64_t kRecordHeader = 12;
constexpr uint64_t kRecordFooter = 4;

// One record that is wanted.
struct WantedRecord {
  int64_t place;    // in the batch
  int32_t shard;
  uint64_t offset;  // of the record with its header
  uint64_t size;    // with header and footer
};

// Records [begin, end) of the sorted list lie in the bytes [offset, offset + size) of one shard.
struct PlannedRead {
  size_t begin;
  size_t end;
  uint64_t offset;
  uint64_t size;
};

// The positions of `ids` in ascending order of id; equal ids keep their order.
std::vector<int64_t> AscendingPlaces(const int64_t* ids, int64_t num_ids);

// Reads for `records`, which are sorted by shard and offset. Two records share a read if at most `max_gap` bytes lie
// between them and the read stays within `max_bytes`.
std::vector<PlannedRead> PlanReads(const std::vector<WantedRecord>& records, uint64_t max_gap, uint64_t max_bytes);

}  // namespace tfdml

#endif  // TFDML_NATIVE_KERNELS_READ_PLAN_H_
