// A PJRT plugin that stands in front of a real one and fails on purpose. Only tests use it; they compile it with
//   REAL    the path of the real plugin
//   FAULT   what happens: see the enum
//   AFTER   how many runs of programs go well before it
//   ONCE    a path: only the process that makes this file meets the fault; empty for every process
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXHAUSTED = 1, INTERNAL = 2, ABORT = 3, OLD = 4, LACKS_EXECUTE = 5, NO_DEVICE = 6 };

// PJRT_Api: struct_size, extension_start, the version in a struct of its own, then pointers to functions.
typedef struct {
  size_t struct_size;
  void *extension_start;
  size_t version_size;
  void *version_extension;
  int major, minor;
  void *functions[];
} Api;
enum { ERROR_DESTROY = 0, ERROR_MESSAGE = 1, ERROR_CODE = 2, CLIENT_CREATE = 10, EXECUTE = 55 };

typedef void *(*Function)(void *);
typedef struct {
  size_t struct_size;
  void *extension_start;
  void *error;
  const char *message;
  size_t message_size;
} MessageArgs;
typedef struct {
  size_t struct_size;
  void *extension_start;
  void *error;
  int code;
} CodeArgs;

static Api *real, *own;
static int runs;
#define TEXT                                                                                                 \
  (FAULT == EXHAUSTED   ? "Out of memory while trying to allocate 68719476736 bytes.\nBuffers: many"          \
   : FAULT == NO_DEVICE ? "No visible GPU devices."                                                          \
                        : "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access")
// Its address is the error that this plugin makes.
static int code = FAULT == EXHAUSTED ? 8 : FAULT == NO_DEVICE ? 9 : 13;

static void *of_real(int function, void *args) { return ((Function)real->functions[function])(args); }

static void *destroy(void *args) {
  return ((MessageArgs *)args)->error == &code ? NULL : of_real(ERROR_DESTROY, args);
}

static void *tell_message(void *args) {
  MessageArgs *message = args;
  if (message->error != &code) return of_real(ERROR_MESSAGE, args);
  message->message = TEXT;
  message->message_size = strlen(TEXT);
  return NULL;
}

static void *tell_code(void *args) {
  CodeArgs *about = args;
  if (about->error != &code) return of_real(ERROR_CODE, args);
  about->code = code;
  return NULL;
}

static int is_victim(void) {
  static int known;
  if (ONCE[0] == '\0') return 1;
  if (known == 0) known = open(ONCE, O_CREAT | O_EXCL, 0600) < 0 ? -1 : 1;
  return known == 1;
}

static void *execute(void *args) {
  if (__atomic_fetch_add(&runs, 1, __ATOMIC_SEQ_CST) < AFTER || !is_victim()) return of_real(EXECUTE, args);
  if (FAULT == ABORT) abort();
  return &code;
}

static void *create(void *args) {
  (void)args;
  return &code;
}

const Api *GetPjrtApi(void) {
  if (own != NULL) return own;
  void *library = dlopen(REAL, RTLD_NOW | RTLD_NODELETE);
  real = ((Api * (*)(void)) dlsym(library, "GetPjrtApi"))();
  own = malloc(real->struct_size);
  memcpy(own, real, real->struct_size);
  own->functions[ERROR_DESTROY] = destroy;
  own->functions[ERROR_MESSAGE] = tell_message;
  own->functions[ERROR_CODE] = tell_code;
  if (FAULT == OLD) own->minor = 40;
  if (FAULT == NO_DEVICE) own->functions[CLIENT_CREATE] = create;
  if (FAULT == LACKS_EXECUTE) own->functions[EXECUTE] = NULL;
  if (FAULT == EXHAUSTED || FAULT == INTERNAL || FAULT == ABORT) own->functions[EXECUTE] = execute;
  return own;
}
