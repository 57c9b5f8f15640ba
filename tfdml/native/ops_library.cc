// The name of the library that these ops are in, so that the tasks of a job can compare theirs.

#include "op_support.h"

// What the build calls the library: it differs with the sources, TensorFlow and the machine.
#ifndef TFDML_LIBRARY_NAME
#error "TFDML_LIBRARY_NAME is not defined: build with tfdml.native.build"
#endif

namespace tfdml {
namespace {

using namespace tensorflow;  // NOLINT: op registration needs many of its names.

REGISTER_OP("TfdmlLibraryName")
    .Output("name: string")
    .SetIsStateful()
    .SetShapeFn(shape_inference::ScalarShape);

class LibraryNameOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    Tensor* name;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({}), &name));
    name->scalar<tstring>()() = TFDML_LIBRARY_NAME;
  }
};

REGISTER_KERNEL_BUILDER(Name("TfdmlLibraryName").Device(DEVICE_CPU), LibraryNameOp);

}  // namespace
}  // namespace tfdml
