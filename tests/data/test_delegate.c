/* An external TFLite delegate for the tests: it runs the fully connected int8 operators of a model, rightly,
 * until it does what its options say. Built by tests with: gcc -shared -fPIC -O1
 *
 *   mode   good             nothing goes wrong
 *          create_fails     there is no accelerator
 *          prepare_fails    it refuses the model
 *          prepare_crashes  it reads address 0 while it looks at the model
 *          prepare_hangs
 *          takes_nothing    it leaves every operator to the CPU
 *          invoke_fails, crashes, hangs, wrong, slow   it does so from the run number `at` on
 *   at     see above; 1 when left out
 *          leaks            every run from then on keeps 4 MB
 *   while  a path: the fault is there only while that file is; checked whenever it would happen
 *
 * The types below are those parts of TensorFlow Lite's C interface that this file touches, in its order:
 * tensorflow/lite/core/c/common.h. Both runtimes of the tests have them so.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, ERROR = 1, TYPE_INT8 = 9, FULLY_CONNECTED = 9, ALLOW_DYNAMIC_TENSORS = 1 };

typedef struct { int size; int data[]; } Ints;
typedef struct { int size; float data[]; } Floats;
typedef struct { Floats *scale; Ints *zero_point; int32_t dimension; } Affine;

typedef struct {
  int type;
  void *data;
  Ints *dims;
  struct { float scale; int32_t zero_point; } params;
  int allocation_type;
  size_t bytes;
  const void *allocation;
  const char *name;
  void *delegate;
  int buffer_handle;
  _Bool data_is_stale, is_variable;
  struct { int type; void *params; } quantization;
  void *sparsity;
  const Ints *dims_signature;
} Tensor;

typedef struct {
  Ints *inputs, *outputs, *intermediates, *temporaries;
  void *user_data;
} Node;

typedef struct Context Context;
typedef struct Delegate Delegate;

typedef struct {
  void *(*init)(Context *, const char *, size_t);
  void (*free)(Context *, void *);
  int (*prepare)(Context *, Node *);
  int (*invoke)(Context *, Node *);
  const char *(*profiling_string)(const Context *, const Node *);
  int32_t builtin_code;
  const char *custom_name;
  int version;
  void *rest[4]; /* what newer runtimes have behind it stays 0 */
} Registration;

struct Context {
  size_t tensors_size;
  int (*plan)(Context *, Ints **);
  Tensor *tensors;
  void *impl;
  int (*resize)(Context *, Tensor *, Ints *);
  void (*report)(Context *, const char *, ...);
  int (*add_tensors)(Context *, int, int *);
  int (*node)(Context *, int, Node **, Registration **);
  int (*replace)(Context *, Registration, const Ints *, Delegate *);
};

struct Delegate {
  void *data;
  int (*prepare)(Context *, Delegate *);
  void *buffer_handles[3];
  int64_t flags;
  void *opaque_builder;
};

typedef struct {
  Delegate delegate;
  char mode[32], only_while[512];
  long at, runs;
} Test;

typedef struct { Delegate *delegate; Ints *nodes, *inputs, *outputs; } Params;

typedef struct { Test *test; Ints *inputs; int output; } Kernel;

static int is(const Test *test, const char *mode) {
  if (strcmp(test->mode, mode) != 0) return 0;
  return test->only_while[0] == 0 || access(test->only_while, F_OK) == 0;
}

static int *volatile nowhere; /* volatile, or the compiler knows that it is 0 and leaves the write out */

static void crash(void) { *nowhere = 1; }

static void hang(void) {
  for (;;) pause();
}

/* out = clamp(round(sum((in - zero) * weight) * scale) + zero): at most one step off TFLite's own rounding */
static void fully_connected(Context *context, const Kernel *kernel) {
  const Tensor *in = &context->tensors[kernel->inputs->data[0]];
  const Tensor *weights = &context->tensors[kernel->inputs->data[1]];
  int bias_index = kernel->inputs->size > 2 ? kernel->inputs->data[2] : -1;
  const Tensor *bias = bias_index < 0 ? NULL : &context->tensors[bias_index];
  Tensor *out = &context->tensors[kernel->output];
  const Affine *affine = weights->quantization.params;
  int rows = weights->dims->data[0], columns = weights->dims->data[1];
  for (int row = 0; row < rows; row++) {
    int32_t sum = bias ? ((int32_t *)bias->data)[row] : 0;
    for (int column = 0; column < columns; column++) {
      int value = ((int8_t *)in->data)[column] - in->params.zero_point;
      sum += value * ((int8_t *)weights->data)[row * columns + column];
    }
    double scale = affine->scale->data[affine->scale->size > 1 ? row : 0];
    long code = lround(sum * (in->params.scale * scale / out->params.scale)) + out->params.zero_point;
    ((int8_t *)out->data)[row] = (int8_t)(code < -128 ? -128 : code > 127 ? 127 : code);
  }
}

static void *init(Context *context, const char *buffer, size_t length) {
  (void)length;
  const Params *params = (const Params *)buffer;
  Node *node;
  Registration *registration;
  Kernel *kernel = calloc(1, sizeof *kernel);
  if (!kernel || context->node(context, params->nodes->data[0], &node, &registration) != OK) abort();
  kernel->test = params->delegate->data;
  kernel->inputs = node->inputs;
  kernel->output = node->outputs->data[0];
  return kernel;
}

static void release(Context *context, void *kernel) {
  (void)context;
  free(kernel);
}

static int run(Context *context, Node *node) {
  Kernel *kernel = node->user_data;
  Test *test = kernel->test;
  int due = ++test->runs >= test->at;
  if (due && is(test, "crashes")) crash();
  if (due && is(test, "hangs")) hang();
  if (due && is(test, "leaks")) memset(malloc(4 << 20), 1, 4 << 20);
  if (due && is(test, "slow")) usleep(50000);
  if (due && is(test, "invoke_fails")) {
    context->report(context, "the accelerator is gone");
    return ERROR;
  }
  fully_connected(context, kernel);
  if (due && is(test, "wrong")) {
    Tensor *out = &context->tensors[kernel->output];
    for (size_t i = 0; i < out->bytes; i++) ((int8_t *)out->data)[i] = (int8_t)(-1 - ((int8_t *)out->data)[i]);
  }
  return OK;
}

static int prepare(Context *context, Delegate *delegate) {
  const Test *test = delegate->data;
  Ints *plan, *taken;
  if (is(test, "prepare_crashes")) crash();
  if (is(test, "prepare_hangs")) hang();
  if (is(test, "prepare_fails")) {
    context->report(context, "the accelerator does not know this model");
    return ERROR;
  }
  if (context->plan(context, &plan) != OK) return ERROR;
  taken = calloc(1, sizeof(Ints) + sizeof(int) * (size_t)plan->size);
  if (!taken) return ERROR;
  for (int place = 0; place < plan->size; place++) {
    Node *node;
    Registration *registration;
    if (context->node(context, plan->data[place], &node, &registration) != OK) return ERROR;
    if (registration->builtin_code == FULLY_CONNECTED &&
        context->tensors[node->outputs->data[0]].type == TYPE_INT8)
      taken->data[taken->size++] = plan->data[place];
  }
  if (is(test, "takes_nothing")) taken->size = 0;
  Registration kernel = {.init = init, .free = release, .invoke = run, .custom_name = "GalagoTest", .version = 1};
  int status = taken->size ? context->replace(context, kernel, taken, delegate) : OK;
  free(taken);
  return status;
}

Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
  Test *test = calloc(1, sizeof *test);
  if (!test) return NULL;
  test->at = 1;
  for (size_t i = 0; i < count; i++) {
    if (strcmp(keys[i], "mode") == 0) strncpy(test->mode, values[i], sizeof test->mode - 1);
    if (strcmp(keys[i], "while") == 0) strncpy(test->only_while, values[i], sizeof test->only_while - 1);
    if (strcmp(keys[i], "at") == 0) test->at = atol(values[i]);
  }
  if (is(test, "create_fails")) {
    report("no accelerator");
    free(test);
    return NULL;
  }
  test->delegate = (Delegate){.data = test, .prepare = prepare, .flags = ALLOW_DYNAMIC_TENSORS};
  return &test->delegate;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) {
  if (delegate) free(delegate->data);
}
