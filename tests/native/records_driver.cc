// Runs what lies below the op that reads records, without TensorFlow. Prints nothing, or what is wrong.
//
// The argument is a file of at least two pages; the driver cuts it.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "kernels/guarded_copy.h"
#include "kernels/read_plan.h"

using namespace tfdml;

#define CHECK(condition) \
  if (!(condition)) std::printf("line %d: %s\n", __LINE__, #condition)

namespace {

bool passed_on = false;

void Remember(int) {
  passed_on = true;
  std::_Exit(passed_on ? 0 : 1);
}

void Plans() {
  const int64_t ids[] = {7, 3, 3, 9, 0};
  CHECK((AscendingPlaces(ids, 5) == std::vector<int64_t>{4, 1, 2, 0, 3}));
  CHECK(AscendingPlaces(ids, 0).empty());
  CHECK(PlanReads({}, 10, 100).empty());

  // Neighbours, a gap of 10, the same record twice, a gap of 11, another shard, more than fits into one read.
  const std::vector<WantedRecord> records = {{0, 0, 0, 20},   {1, 0, 20, 20}, {2, 0, 50, 20}, {3, 0, 50, 20},
                                             {4, 0, 81, 20},  {5, 1, 81, 20}, {6, 1, 101, 80}, {7, 1, 181, 1},
                                             {8, 1, 500, 900}};
  const std::vector<PlannedRead> reads = PlanReads(records, 10, 100);
  CHECK(reads.size() == 5);
  const uint64_t expected[][4] = {{0, 4, 0, 70}, {4, 5, 81, 20}, {5, 7, 81, 100}, {7, 8, 181, 1}, {8, 9, 500, 900}};
  for (size_t i = 0; i < reads.size(); ++i) {
    CHECK(reads[i].begin == expected[i][0] && reads[i].end == expected[i][1]);
    CHECK(reads[i].offset == expected[i][2] && reads[i].size == expected[i][3]);
  }
}

void Copies(const char* path) {
  const long page = ::sysconf(_SC_PAGESIZE);
  const int file = ::open(path, O_RDWR);
  const char* data = static_cast<const char*>(::mmap(nullptr, 2 * page, PROT_READ, MAP_SHARED, file, 0));
  CHECK(data != MAP_FAILED);
  std::vector<char> copy(2 * page);
  CHECK(GuardedCopy(copy.data(), data, 2 * page));
  CHECK(std::memcmp(copy.data(), data, 2 * page) == 0);
  CHECK(::ftruncate(file, page) == 0);
  // More than once, and in several threads: the signal must not stay blocked.
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([data, page] {
      std::vector<char> own(page);
      for (int j = 0; j < 3; ++j) {
        CHECK(!GuardedCopy(own.data(), data + page, page));
        CHECK(GuardedCopy(own.data(), data, page));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // Elsewhere the signal has its old meaning: `Remember` ends the process well.
  std::fflush(stdout);
  copy[0] = static_cast<volatile const char*>(data)[page];
  std::printf("the handler before was not called\n");
}

}  // namespace

int main(int, char** arguments) {
  std::signal(SIGBUS, Remember);
  Plans();
  Copies(arguments[1]);
  return 0;
}
