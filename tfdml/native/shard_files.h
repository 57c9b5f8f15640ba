// Open shards with their indexes, shared by all pipelines of a process, and limited in number.

#ifndef TFDML_NATIVE_SHARD_FILES_H_
#define TFDML_NATIVE_SHARD_FILES_H_

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "tensorflow/core/platform/env.h"

namespace tfdml {

// What messages of these ops begin with, so that Python can tell them from others.
constexpr char kRecordsError[] = "tfdml records: ";

// A shard and its index, as tfdml/data/index.py describes it. Safe for several threads.
class ShardFile {
 public:
  // `mapped`: if the file can be mapped, it is, so that small records come without a call of the kernel.
  static absl::Status Open(const std::string& path, const std::string& index, bool mapped,
                           std::shared_ptr<ShardFile>* result) {
    auto shard = std::make_shared<ShardFile>();
    tensorflow::Env* env = tensorflow::Env::Default();
    shard->path_ = path;
    TF_RETURN_IF_ERROR(Named(path, env->NewRandomAccessFile(path, &shard->file_)));
    TF_RETURN_IF_ERROR(Named(index, env->NewReadOnlyMemoryRegionFromFile(index, &shard->index_)));
    const uint64_t size = shard->index_->length();
    if (size < kIndexHeader + 8 || std::memcmp(shard->index_->data(), "TFDMLIDX", 8) != 0) {
      return Misfit(index, "no index of a shard");
    }
    shard->num_records_ = shard->IndexWord(16);
    if ((size - kIndexHeader) / 8 < shard->num_records_ + 1) return Misfit(index, "cut short");
    TF_RETURN_IF_ERROR(Named(path, env->GetFileSize(path, &shard->size_)));
    if (shard->size_ != shard->offset(shard->num_records_)) {
      return absl::DataLossError(absl::StrCat(kRecordsError, path, ": has ", shard->size_, " bytes, its index is for ",
                                              shard->offset(shard->num_records_),
                                              ". Was the shard replaced or cut short? See tfdml verify."));
    }
    if (!absl::StrContains(path, "://")) shard->local_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (!mapped || !env->NewReadOnlyMemoryRegionFromFile(path, &shard->memory_).ok()) shard->memory_ = nullptr;
    *result = std::move(shard);
    return absl::OkStatus();
  }
  ~ShardFile() {
    if (local_ >= 0) ::close(local_);
  }

  const std::string& path() const { return path_; }
  const tensorflow::RandomAccessFile& file() const { return *file_; }
  // Bytes of the file where it is mapped, else null: outside of it, or on a file system that does not map.
  const char* Mapped(uint64_t offset, uint64_t size) const {
    if (memory_ == nullptr || offset + size > memory_->length()) return nullptr;
    return static_cast<const char*>(memory_->data()) + offset;
  }
  uint64_t size() const { return size_; }
  uint64_t num_records() const { return num_records_; }
  // Where record `number` begins; number == num_records: where the last one ends.
  uint64_t offset(uint64_t number) const { return IndexWord(kIndexHeader + 8 * number); }

  // Whether the bytes at `offset` may have to come from the disk: also where the file system does not say, as many
  // that go over a network do not.
  bool IsCold(uint64_t offset) const {
#if defined(RWF_NOWAIT)
    if (local_ < 0) return false;
    char byte;
    struct iovec part = {&byte, 1};
    return ::preadv2(local_, &part, 1, offset, RWF_NOWAIT) < 0 && (errno == EAGAIN || errno == EOPNOTSUPP);
#else
    return false;
#endif
  }
  // Ask the kernel to begin to read.
  void Announce(uint64_t offset, uint64_t size) const {
    if (local_ >= 0) ::posix_fadvise(local_, offset, size, POSIX_FADV_WILLNEED);
  }

 private:
  static constexpr uint64_t kIndexHeader = 64;

  static absl::Status Named(const std::string& path, const absl::Status& status) {
    if (status.ok()) return status;
    const std::string reason(status.message());
    return absl::Status(status.code(), absl::StrCat(kRecordsError, path, ": cannot be opened (", reason, ")."));
  }
  static absl::Status Misfit(const std::string& index, const char* what) {
    return absl::DataLossError(
        absl::StrCat(kRecordsError, index, ": ", what, ". Delete it; it is made again when needed."));
  }
  uint64_t IndexWord(uint64_t at) const {
    uint64_t word;
    std::memcpy(&word, static_cast<const char*>(index_->data()) + at, sizeof word);
    return word;
  }

  std::string path_;
  std::unique_ptr<tensorflow::RandomAccessFile> file_;
  std::unique_ptr<tensorflow::ReadOnlyMemoryRegion> memory_;
  std::unique_ptr<tensorflow::ReadOnlyMemoryRegion> index_;
  uint64_t size_ = 0;
  uint64_t num_records_ = 0;
  int local_ = -1;  // TensorFlow's files cannot be asked what is in memory
};

// Reads a whole local file, so that it is in memory afterwards. To announce it would not do: the kernel takes only so
// much of an announcement, and requests of its own size are what disks do fastest.
inline void BringIntoMemory(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return;  // Who reads it will say so.
  std::vector<char> scratch(1 << 20);
  for (off_t at = 0;; at += scratch.size()) {
    if (::pread(file, scratch.data(), scratch.size(), at) <= 0) break;
  }
  ::close(file);
}

// The shards that were used last stay open.
class OpenShards {
 public:
  static OpenShards& OfProcess() {
    static auto* shards = new OpenShards;
    return *shards;
  }

  // How many of `num_shards` shards one batch may hold open at a time.
  size_t AtOnce(size_t num_shards) const {
    return num_shards <= limit_ ? num_shards : std::max<uint64_t>(limit_ / 16, 8);
  }

  // `version` tells files apart that had the same path at different times.
  absl::Status Get(const std::string& path, const std::string& version, const std::string& index,
                   std::shared_ptr<ShardFile>* result) {
    const std::string key = absl::StrCat(path, "\n", version);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const auto found = by_key_.find(key);
      if (found != by_key_.end()) {
        used_.splice(used_.begin(), used_, found->second);
        *result = found->second->second;
        return absl::OkStatus();
      }
    }
    TF_RETURN_IF_ERROR(ShardFile::Open(path, index, /*mapped=*/true, result));
    std::shared_ptr<ShardFile> closed;  // after the lock
    const std::lock_guard<std::mutex> lock(mutex_);
    if (by_key_.count(key) == 0) {
      used_.emplace_front(key, *result);
      by_key_[key] = used_.begin();
      if (used_.size() > limit_) {
        closed = std::move(used_.back().second);
        by_key_.erase(used_.back().first);
        used_.pop_back();
      }
    }
    return absl::OkStatus();
  }

 private:
  using Used = std::list<std::pair<std::string, std::shared_ptr<ShardFile>>>;

  // A shard has two descriptors; half of those that the process may have stay for others.
  OpenShards() {
    struct rlimit limit;
    const uint64_t files = ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 1024;
    limit_ = std::min<uint64_t>(std::max<uint64_t>(files / 4, 8), 4096);
  }

  std::mutex mutex_;
  uint64_t limit_;
  Used used_;  // the latest first
  std::unordered_map<std::string, Used::iterator> by_key_;
};

}  // namespace tfdml

#endif  // TFDML_NATIVE_SHARD_FILES_H_
