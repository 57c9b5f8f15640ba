// Whether all values of a vector are finite.

#ifndef TFDML_NATIVE_KERNELS_FINITE_H_
#define TFDML_NATIVE_KERNELS_FINITE_H_

#include "parallel.h"
#include "vector_view.h"

namespace tfdml {

bool AllFinite(const VectorView<const float>& values, const ParallelFor& parallel);

}  // namespace tfdml

#endif  // TFDML_NATIVE_KERNELS_FINITE_H_
