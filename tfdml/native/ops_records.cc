// Reading TFRecords by number: a batch sorted by place, neighbours in one read, checksums verified, several threads.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "kernels/guarded_copy.h"
#include "kernels/read_plan.h"
#include "op_support.h"
#include "shard_files.h"
#include "tensorflow/core/lib/hash/crc32c.h"

namespace tfdml {
namespace {

using namespace tensorflow;  // NOLINT: op registration needs many of its names.
using shape_inference::InferenceContext;
using shape_inference::ShapeHandle;

// To read a gap costs less than to ask the file system once more.
constexpr uint64_t kMaxGap = 4 << 10;
constexpr uint64_t kMaxRead = 1 << 20;
// How many places of a batch are tried, to find out whether the data is on the disk only.
constexpr size_t kProbes = 8;

REGISTER_OP("TfdmlReadRecords")
    .Input("ids: int64")
    .Input("paths: string")
    .Input("versions: string")
    .Input("indexes: string")
    .Input("first_ids: int64")
    .Output("records: string")
    .Attr("keep_open: bool = true")
    .SetDoNotOptimize()  // Files are no constants.
    .SetShapeFn([](InferenceContext* c) {
      ShapeHandle ids;
      TF_RETURN_IF_ERROR(c->WithRank(c->input(0), 1, &ids));
      c->set_output(0, ids);
      return absl::OkStatus();
    });

REGISTER_OP("TfdmlAnnounceShards")
    .Input("paths: string")
    .SetIsStateful()
    .SetShapeFn(shape_inference::NoOutputs);

// ids int64 [n]; paths, versions, indexes string [shards]; first_ids int64 [shards + 1]: the number of each shard's
// first record, and of all records. -> string [n]
class ReadRecordsOp : public OpKernel {
 public:
  explicit ReadRecordsOp(OpKernelConstruction* construction) : OpKernel(construction) {
    OP_REQUIRES_OK(construction, construction->GetAttr("keep_open", &keep_open_));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& ids = context->input(0);
    OP_REQUIRES(context, ids.dims() == 1, Invalid("`ids` must be a vector, got ", ids.shape().DebugString()));
    Tensor* output;
    OP_REQUIRES_OK(context, context->allocate_output(0, ids.shape(), &output));
    const std::vector<int64_t> places = AscendingPlaces(ids.flat<int64_t>().data(), ids.NumElements());
    for (size_t done = 0; done < places.size();) {
      Batch batch;
      OP_REQUIRES_OK(context, Find(context, places, &done, &batch));
      OP_REQUIRES_OK(context, ReadBatch(context, batch, output->vec<tstring>().data()));
    }
  }

 private:
  struct Batch {
    std::vector<WantedRecord> records;               // sorted
    std::vector<std::shared_ptr<ShardFile>> shards;  // those that are needed; `WantedRecord::shard` counts them
    std::vector<int64_t> numbers;                    // of each record in its shard, for messages

    const ShardFile& ShardOf(const PlannedRead& read) const { return *shards[records[read.begin].shard]; }
  };

  // Records at places[*done] and after, up to the end or to as many shards as may be open for one batch.
  absl::Status Find(OpKernelContext* context, const std::vector<int64_t>& places, size_t* done, Batch* batch) const {
    const int64_t* ids = context->input(0).flat<int64_t>().data();
    const auto paths = context->input(1).flat<tstring>();
    const auto versions = context->input(2).flat<tstring>();
    const auto indexes = context->input(3).flat<tstring>();
    const auto first_ids = context->input(4).flat<int64_t>();
    if (versions.size() != paths.size() || indexes.size() != paths.size() || first_ids.size() != paths.size() + 1) {
      return Invalid("`paths`, `versions` and `indexes` must have one element a shard, `first_ids` one more");
    }
    const int64_t* firsts = first_ids.data();
    const int64_t num_shards = paths.size();
    const size_t max_shards = OpenShards::OfProcess().AtOnce(num_shards);
    batch->records.reserve(places.size() - *done);
    batch->numbers.reserve(places.size() - *done);
    int64_t shard = -1;
    for (; *done < places.size(); ++*done) {
      const int64_t place = places[*done], id = ids[place];
      if (id < 0 || id >= firsts[num_shards]) {
        return absl::OutOfRangeError(absl::StrCat(kRecordsError, "there is no record ", id,
                                                  ": they are numbered 0 to ", firsts[num_shards] - 1, "."));
      }
      if (shard < 0 || id >= firsts[shard + 1]) {
        if (batch->shards.size() == max_shards) break;
        shard = std::upper_bound(firsts, firsts + num_shards + 1, id) - firsts - 1;
        batch->shards.emplace_back();
        std::shared_ptr<ShardFile>* file = &batch->shards.back();
        TF_RETURN_IF_ERROR(keep_open_ ? OpenShards::OfProcess().Get(paths(shard), versions(shard), indexes(shard), file)
                                      : ShardFile::Open(paths(shard), indexes(shard), false, file));
        if ((*file)->num_records() != static_cast<uint64_t>(firsts[shard + 1] - firsts[shard])) {
          return Damaged(**file, "has another number of records than when it was opened; was it replaced?");
        }
      }
      const ShardFile& file = *batch->shards.back();
      const uint64_t number = id - firsts[shard];
      const uint64_t begin = file.offset(number), end = file.offset(number + 1);
      if (end > file.size() || end < begin + kRecordHeader + kRecordFooter) {
        return Damaged(file, absl::StrCat("its index is wrong about record ", number,
                                          "; delete the index, and it is made again."));
      }
      batch->records.push_back({place, static_cast<int32_t>(batch->shards.size() - 1), begin, end - begin});
      batch->numbers.push_back(number);
    }
    return absl::OkStatus();
  }

  static absl::Status ReadBatch(OpKernelContext* context, const Batch& batch, tstring* outputs) {
    const std::vector<PlannedRead> reads = PlanReads(batch.records, kMaxGap, kMaxRead);
    const bool cold = IsCold(batch, reads);
    // The kernel is told of all reads first, so that the disk has them at the same time and not one after the other.
    if (cold && reads.size() > 1) {
      for (const PlannedRead& read : reads) batch.ShardOf(read).Announce(read.offset, read.size);
    }
    std::mutex mutex;
    absl::Status failure;
    // Of several failures the first in the order of the files is told, however the reads are split.
    std::atomic<int64_t> failed_at{static_cast<int64_t>(reads.size())};
    uint64_t bytes = 0;
    for (const PlannedRead& read : reads) bytes += read.size;
    // A part of what it takes: other batches are read at the same time, and to wake a thread for less than half a
    // millisecond costs more than it brings.
    const int64_t cost = (500 + bytes / reads.size() / 4) / 16;
    Threads(context)(reads.size(), cost, [&](int64_t begin, int64_t end) {
      std::vector<char> scratch;
      for (int64_t i = begin; i < end && i < failed_at; ++i) {
        const absl::Status status = Read(batch, reads[i], !cold, &scratch, outputs);
        if (status.ok()) continue;
        const std::lock_guard<std::mutex> lock(mutex);
        if (i < failed_at) {
          failure = status;
          failed_at = i;
        }
      }
    });
    return failure;
  }

  // Whether some of the data is not in memory.
  static bool IsCold(const Batch& batch, const std::vector<PlannedRead>& reads) {
    const size_t stride = std::max<size_t>(1, reads.size() / kProbes);
    for (size_t i = 0; i < reads.size(); i += stride) {
      if (batch.ShardOf(reads[i]).IsCold(reads[i].offset)) return true;
    }
    return false;
  }

  // `from_memory`: without asking the file system, where the file is mapped: a third of the time for a small record.
  static absl::Status Read(const Batch& batch, const PlannedRead& read, bool from_memory, std::vector<char>* scratch,
                           tstring* outputs) {
    const ShardFile& shard = batch.ShardOf(read);
    const char* mapped = from_memory ? shard.Mapped(read.offset, read.size) : nullptr;
    if (mapped == nullptr && read.end > read.begin + 1) {
      if (scratch->size() < read.size) scratch->resize(read.size);
      TF_RETURN_IF_ERROR(ReadBytes(shard, read.offset, read.size, scratch->data(), batch, read.end - 1));
    }
    for (size_t i = read.begin; i < read.end; ++i) {
      const WantedRecord& record = batch.records[i];
      // Straight to where it belongs. The checksum that comes with it is cut off.
      tstring& output = outputs[record.place];
      const uint64_t size = record.size - kRecordHeader;
      output.resize_uninitialized(size);
      const uint64_t at = record.offset - read.offset + kRecordHeader;
      if (mapped != nullptr) {
        if (!GuardedCopy(output.mdata(), mapped + at, size)) {
          return Damaged(shard, absl::StrCat("record ", batch.numbers[i], " cannot be read; the disk has failed, or ",
                                             "the file has become shorter."));
        }
      } else if (read.end > read.begin + 1) {
        std::memcpy(output.mdata(), scratch->data() + at, size);
      } else {
        TF_RETURN_IF_ERROR(ReadBytes(shard, record.offset + kRecordHeader, size, output.mdata(), batch, i));
      }
      TF_RETURN_IF_ERROR(Check(shard, output.data(), size - kRecordFooter, batch, i));
      output.resize_uninitialized(size - kRecordFooter);
    }
    return absl::OkStatus();
  }

  static absl::Status ReadBytes(const ShardFile& shard, uint64_t offset, uint64_t size, char* data, const Batch& batch,
                                size_t last) {
    absl::string_view result;
    const absl::Status status = shard.file().Read(offset, result, absl::MakeSpan(data, size));
    if (absl::IsOutOfRange(status) || (status.ok() && result.size() < size)) {
      return Damaged(shard, absl::StrCat("ends before record ", batch.numbers[last], " does; the file is truncated."));
    }
    if (!status.ok()) {
      return absl::Status(status.code(), absl::StrCat(kRecordsError, shard.path(), ": cannot be read (",
                                                      status.message(), ")."));
    }
    if (result.data() != data) std::memcpy(data, result.data(), size);
    return absl::OkStatus();
  }

  static absl::Status Check(const ShardFile& shard, const char* data, uint64_t size, const Batch& batch, size_t i) {
    uint32_t stored;
    std::memcpy(&stored, data + size, sizeof stored);
    if (crc32c::Mask(crc32c::Value(data, size)) == stored) return absl::OkStatus();
    return Damaged(shard, absl::StrCat("record ", batch.numbers[i], " at byte ", batch.records[i].offset,
                                       " does not fit its checksum; the file is damaged."));
  }

  template <typename Text>
  static absl::Status Damaged(const ShardFile& shard, const Text& what) {
    return absl::DataLossError(absl::StrCat(kRecordsError, shard.path(), ": ", what));
  }

  bool keep_open_;
};

// paths string [n]: local files that will be read soon, in any order. In the background they are brought into memory
// from their starts to their ends, which disks do fastest.
class AnnounceShardsOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    const auto paths = context->input(0).flat<tstring>();
    std::vector<std::string> local;
    for (int64_t i = 0; i < paths.size(); ++i) {
      if (!absl::StrContains(paths(i), "://")) local.push_back(paths(i));
    }
    if (local.empty()) return;
    Env::Default()->SchedClosure([local = std::move(local)] {
      for (const std::string& path : local) BringIntoMemory(path);
    });
  }
};

REGISTER_KERNEL_BUILDER(Name("TfdmlAnnounceShards").Device(DEVICE_CPU), AnnounceShardsOp);
REGISTER_KERNEL_BUILDER(Name("TfdmlReadRecords").Device(DEVICE_CPU), ReadRecordsOp);

}  // namespace
}  // namespace tfdml
