// memcpy out of a mapped file, where a disk that fails or a file that has become shorter is a result and no signal.

#ifndef TFDML_NATIVE_KERNELS_GUARDED_COPY_H_
#define TFDML_NATIVE_KERNELS_GUARDED_COPY_H_

#include <cstddef>

namespace tfdml {

// False if a page of `from` cannot be had; what is in `to` is then worth nothing. The first call installs a handler of
// SIGBUS, which passes on to the one before what did not happen in here.
bool GuardedCopy(char* to, const char* from, size_t size);

}  // namespace tfdml

#endif  // TFDML_NATIVE_KERNELS_GUARDED_COPY_H_
