// The launch of one compiled kernel with all but the addresses laid out: Start(...)(address, ..., stream).
//
// Per call it copies the parameters, puts the addresses in, and asks the driver to launch. A tensor map is encoded once:
// afterwards only its address is replaced, which the driver does in a few nanoseconds on the host.

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <cuda.h>
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PARAMETERS 48
#define ADDRESSES 12

typedef struct {
  PyObject_HEAD
  vectorcallfunc call;
  CUfunction function;
  CUcontext context; // the primary one of the device that the kernel is loaded on
  unsigned grid[3];
  unsigned threads;
  unsigned cluster; // programs that start together
  unsigned shared_bytes;
  int parameters;
  int addresses;
  uint64_t values[PARAMETERS]; // little-endian: a narrower parameter is the first bytes of its own
  int place[ADDRESSES];        // of each address among the parameters
  int described[ADDRESSES];
  unsigned char maps[ADDRESSES][sizeof(CUtensorMap)];
} Start;

static CUresult (*launch_kernel)(const CUlaunchConfig *, CUfunction, void **, void **);
static CUresult (*replace_address)(CUtensorMap *, void *);
static CUresult (*current_context)(CUcontext *);
static CUresult (*set_context)(CUcontext);
static CUresult (*primary_context)(CUcontext *, CUdevice);
static CUresult (*error_string)(CUresult, const char **);

static PyObject *failed(CUresult code) {
  const char *text = NULL;
  if (error_string(code, &text) != CUDA_SUCCESS || text == NULL)
    text = "no such error is known";
  return PyErr_Format(PyExc_RuntimeError, "CUDA error %d at a kernel's launch: %s", (int)code, text);
}

static PyObject *start(PyObject *of, PyObject *const *arguments, size_t flagged, PyObject *names) {
  Start *self = (Start *)of;
  if (PyVectorcall_NARGS(flagged) != self->addresses + 1 || names != NULL)
    return PyErr_Format(PyExc_TypeError, "give %d addresses and a stream", self->addresses);
  uint64_t given[ADDRESSES + 1];
  for (int i = 0; i <= self->addresses; i++) {
    given[i] = PyLong_AsUnsignedLongLong(arguments[i]);
    if (given[i] == (uint64_t)-1 && PyErr_Occurred())
      return NULL;
  }
  uint64_t values[PARAMETERS];
  void *parameters[PARAMETERS];
  CUtensorMap maps[ADDRESSES]; // on the stack, aligned as its type asks: threads share nothing
  memcpy(values, self->values, sizeof(uint64_t) * self->parameters);
  for (int i = 0; i < self->parameters; i++)
    parameters[i] = &values[i];
  // A thread that has not called the runtime yet has no context, and without one an address cannot be replaced either.
  CUcontext context = NULL;
  CUresult code = current_context(&context);
  if (code == CUDA_SUCCESS && context == NULL)
    code = set_context(self->context);
  if (code != CUDA_SUCCESS)
    return failed(code);
  for (int i = 0; i < self->addresses; i++) {
    if (!self->described[i]) {
      values[self->place[i]] = given[i];
      continue;
    }
    memcpy(&maps[i], self->maps[i], sizeof(CUtensorMap));
    code = replace_address(&maps[i], (void *)(uintptr_t)given[i]);
    if (code != CUDA_SUCCESS)
      return failed(code);
    parameters[self->place[i]] = &maps[i];
  }
  CUlaunchConfig form;
  memset(&form, 0, sizeof(form));
  form.gridDimX = self->grid[0];
  form.gridDimY = self->grid[1];
  form.gridDimZ = self->grid[2];
  form.blockDimX = self->threads;
  form.blockDimY = form.blockDimZ = 1;
  form.sharedMemBytes = self->shared_bytes;
  form.hStream = (CUstream)(uintptr_t)given[self->addresses];
  CUlaunchAttribute together;
  if (self->cluster > 1) {
    memset(&together, 0, sizeof(together));
    together.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    together.value.clusterDim.x = self->cluster;
    together.value.clusterDim.y = together.value.clusterDim.z = 1;
    form.attrs = &together;
    form.numAttrs = 1;
  }
  Py_BEGIN_ALLOW_THREADS // a launch waits where the queue is full: others go on
  code = launch_kernel(&form, self->function, parameters, NULL);
  Py_END_ALLOW_THREADS
  if (code != CUDA_SUCCESS)
    return failed(code);
  Py_RETURN_NONE;
}

// One parameter of a kernel: an int, or the index of an address as a tuple (index,) or (index, tensor map).
static int lay_out(Start *self, int at, PyObject *parameter) {
  if (!PyTuple_Check(parameter)) {
    self->values[at] = PyLong_AsUnsignedLongLongMask(parameter);
    return PyErr_Occurred() ? -1 : 0;
  }
  int index;
  const char *map = NULL;
  Py_ssize_t bytes = 0;
  if (!PyArg_ParseTuple(parameter, "i|y#", &index, &map, &bytes))
    return -1;
  if (index < 0 || index >= self->addresses || (map != NULL && bytes != sizeof(CUtensorMap))) {
    PyErr_Format(PyExc_ValueError, "parameter %d: index %d of %d addresses, a map of %zd bytes", at, index,
                 self->addresses, bytes);
    return -1;
  }
  self->place[index] = at;
  self->described[index] = map != NULL;
  if (map != NULL)
    memcpy(self->maps[index], map, sizeof(CUtensorMap));
  return 0;
}

static PyObject *make(PyTypeObject *type, PyObject *arguments, PyObject *names) {
  unsigned long long function;
  unsigned grid[3], threads, cluster, shared_bytes;
  int addresses, device;
  PyObject *parameters;
  if (!PyArg_ParseTuple(arguments, "K(III)IIIiO!i", &function, &grid[0], &grid[1], &grid[2], &threads, &cluster,
                        &shared_bytes, &addresses, &PyTuple_Type, &parameters, &device))
    return NULL;
  Py_ssize_t count = PyTuple_GET_SIZE(parameters);
  if (count > PARAMETERS || addresses < 0 || addresses > ADDRESSES)
    return PyErr_Format(PyExc_ValueError, "%zd parameters and %d addresses: at most %d and %d", count, addresses,
                        PARAMETERS, ADDRESSES);
  Start *self = (Start *)type->tp_alloc(type, 0);
  if (self == NULL)
    return NULL;
  self->call = start;
  self->function = (CUfunction)(uintptr_t)function;
  memcpy(self->grid, grid, sizeof(grid));
  self->threads = threads;
  self->cluster = cluster;
  self->shared_bytes = shared_bytes;
  self->parameters = (int)count;
  self->addresses = addresses;
  for (int i = 0; i < addresses; i++)
    self->place[i] = -1;
  // The thread that makes it, as one of autograd, may have no context of its own either.
  CUresult code = primary_context(&self->context, (CUdevice)device);
  if (code != CUDA_SUCCESS) {
    Py_DECREF(self);
    return failed(code);
  }
  for (int i = 0; i < self->parameters; i++)
    if (lay_out(self, i, PyTuple_GET_ITEM(parameters, i)) < 0) {
      Py_DECREF(self);
      return NULL;
    }
  for (int i = 0; i < addresses; i++)
    if (self->place[i] < 0) {
      Py_DECREF(self);
      return PyErr_Format(PyExc_ValueError, "address %d has no place among the parameters", i);
    }
  return (PyObject *)self;
}

static PyTypeObject StartType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "tilewright_start.Start",
    .tp_basicsize = sizeof(Start),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(Start, call),
    .tp_call = PyVectorcall_Call,
    .tp_new = make,
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "tilewright_start", NULL, -1, NULL};

static int found(void *driver, const char *name, void *into) {
  void *symbol = dlsym(driver, name);
  if (symbol == NULL)
    PyErr_Format(PyExc_ImportError, "this CUDA driver has no %s", name);
  memcpy(into, &symbol, sizeof(symbol));
  return symbol != NULL;
}

PyMODINIT_FUNC PyInit_tilewright_start(void) {
  void *driver = dlopen("libcuda.so.1", RTLD_LAZY);
  if (driver == NULL) {
    PyErr_SetString(PyExc_ImportError, "libcuda.so.1 cannot be opened: there is no CUDA driver");
    return NULL;
  }
  if (!found(driver, "cuLaunchKernelEx", &launch_kernel) || !found(driver, "cuTensorMapReplaceAddress", &replace_address) ||
      !found(driver, "cuCtxGetCurrent", &current_context) || !found(driver, "cuCtxSetCurrent", &set_context) ||
      !found(driver, "cuDevicePrimaryCtxRetain", &primary_context) ||
      !found(driver, "cuGetErrorString", &error_string) || PyType_Ready(&StartType) < 0)
    return NULL;
  PyObject *made = PyModule_Create(&module);
  if (made != NULL) {
    Py_INCREF(&StartType);
    if (PyModule_AddObject(made, "Start", (PyObject *)&StartType) < 0) {
      Py_DECREF(&StartType);
      Py_CLEAR(made);
    }
  }
  return made;
}
