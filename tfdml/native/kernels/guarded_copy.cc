#include "kernels/guarded_copy.h"

#include <csetjmp>
#include <csignal>
#include <cstring>

namespace tfdml {
namespace {

thread_local sigjmp_buf* volatile way_out = nullptr;  // where to go on when the copy of this thread fails
struct sigaction before;

void OnBusError(int signal, siginfo_t* info, void* context) {
  if (way_out != nullptr) siglongjmp(*way_out, 1);
  if (before.sa_flags & SA_SIGINFO) {
    before.sa_sigaction(signal, info, context);
  } else if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) {
    std::signal(signal, SIG_DFL);  // The instruction is tried again, and ends the process.
  } else {
    before.sa_handler(signal);
  }
}

bool Install() {
  struct sigaction action = {};
  action.sa_sigaction = OnBusError;
  // Not deferred: siglongjmp leaves the handler without lifting the block.
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  return ::sigaction(SIGBUS, &action, &before) == 0;
}

}  // namespace

bool GuardedCopy(char* to, const char* from, size_t size) {
  static const bool installed = Install();
  (void)installed;
  sigjmp_buf here;
  if (sigsetjmp(here, 0) != 0) {
    way_out = nullptr;
    return false;
  }
  way_out = &here;
  std::memcpy(to, from, size);
  way_out = nullptr;
  return true;
}

}  // namespace tfdml
