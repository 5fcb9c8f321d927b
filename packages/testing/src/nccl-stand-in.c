// A stand-in for libnccl and libcudart on machines without a GPU, for tests: the functions that Weft calls, with their
// signatures and their asynchrony. "Device memory" is the memory of the process; ranks meet in a file of shared memory
// named by the unique id. Like the real library it initialises in the background, runs operations in the order of their
// stream on a thread, and leaves an operation whose peer is gone only when it is aborted.
//
// STAND_IN_LOG names a file that gets a line for every call.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, SYSTEM_ERROR = 2, INVALID_ARGUMENT = 4, REMOTE_ERROR = 6, IN_PROGRESS = 7 };
enum { NOT_READY = 600 };
enum { MOST_RANKS = 16, CHUNK_BYTES = 1 << 16, MAIL_BYTES = 1 << 14, IDLE_NANOSECONDS = 50000 };

typedef struct { char bytes[128]; } Id;

// One mailbox for each ordered pair of ranks: the sender counts up `written`, the receiver `read`.
typedef struct { atomic_ulong written, read; char bytes[MAIL_BYTES]; } Mailbox;

typedef struct {
  atomic_int joined;
  atomic_ulong arrived[MOST_RANKS];
  char chunks[MOST_RANKS][CHUNK_BYTES];
  Mailbox mail[MOST_RANKS][MOST_RANKS];
} Meeting;

typedef struct Comm {
  Meeting *meeting;
  char name[64];
  int rank, ranks;
  unsigned long passes;
  atomic_int status, aborted, queued;
  pthread_t opening;
} Comm;

typedef enum { ALL_REDUCE, SEND, RECEIVE, CLEAR } Kind;

typedef struct Call {
  Kind kind;
  Comm *comm;
  const char *from;
  char *to;
  size_t bytes, done;
  int peer;
  struct Call *next;
} Call;

// What one group of calls puts on a stream: it runs as one, like a fused kernel.
typedef struct Batch { Call *calls; struct Batch *next; } Batch;

typedef struct Stream {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  Batch *first, *last;
  int busy, closing;
} Stream;

static void record(const char *format, ...) {
  const char *path = getenv("STAND_IN_LOG");
  if (path == NULL) return;
  char line[256];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line - 1, format, arguments);
  va_end(arguments);
  line[length] = '\n';
  int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (file < 0) return;
  if (write(file, line, (size_t)length + 1) < 0) perror("stand-in");
  close(file);
}

static void rest(void) { nanosleep(&(struct timespec){0, IDLE_NANOSECONDS}, NULL); }

// ---- Operations, on the stream's thread -------------------------------------------------------------------------

static int meet(Comm *comm) {
  unsigned long pass = ++comm->passes;
  atomic_store(&comm->meeting->arrived[comm->rank], pass);
  for (int rank = 0; rank < comm->ranks; rank++)
    while (atomic_load(&comm->meeting->arrived[rank]) < pass) {
      if (atomic_load(&comm->aborted)) return REMOTE_ERROR;
      rest();
    }
  return OK;
}

static int allReduce(Call *call) {
  Comm *comm = call->comm;
  for (size_t at = 0; at < call->bytes; at += CHUNK_BYTES) {
    size_t bytes = call->bytes - at < CHUNK_BYTES ? call->bytes - at : CHUNK_BYTES;
    memcpy(comm->meeting->chunks[comm->rank], call->from + at, bytes);
    if (meet(comm) != OK) return REMOTE_ERROR;
    float *to = (float *)(call->to + at);
    for (size_t i = 0; i < bytes / sizeof(float); i++) {
      float sum = 0;
      for (int rank = 0; rank < comm->ranks; rank++) sum += ((float *)comm->meeting->chunks[rank])[i];
      to[i] = sum;
    }
    if (meet(comm) != OK) return REMOTE_ERROR;
  }
  return OK;
}

// Moves what can be moved now.
static void move(Call *call) {
  Comm *comm = call->comm;
  int isSend = call->kind == SEND;
  Mailbox *mail = isSend ? &comm->meeting->mail[comm->rank][call->peer] : &comm->meeting->mail[call->peer][comm->rank];
  unsigned long written = atomic_load(&mail->written), read = atomic_load(&mail->read);
  size_t at = (isSend ? written : read) % MAIL_BYTES;
  size_t count = isSend ? MAIL_BYTES - (written - read) : written - read;
  if (count > call->bytes - call->done) count = call->bytes - call->done;
  if (count > MAIL_BYTES - at) count = MAIL_BYTES - at;
  if (isSend) memcpy(mail->bytes + at, call->from + call->done, count);
  else memcpy(call->to + call->done, mail->bytes + at, count);
  atomic_fetch_add(isSend ? &mail->written : &mail->read, count);
  call->done += count;
}

// Whether a call before it in its batch still uses its mailbox: what goes to one peer arrives in order.
static int waits(Call *first, Call *call) {
  for (; first != call; first = first->next)
    if (first->kind == call->kind && first->comm == call->comm && first->peer == call->peer && first->done < first->bytes)
      return 1;
  return 0;
}

static void run(Batch *batch) {
  int left = 1;
  for (Call *call = batch->calls; call != NULL; call = call->next)
    if (call->kind == CLEAR) memset(call->to, 0, call->bytes);
  for (Call *call = batch->calls; call != NULL; call = call->next)
    if (call->kind == ALL_REDUCE && allReduce(call) != OK) atomic_store(&call->comm->status, REMOTE_ERROR);
  while (left > 0) {
    left = 0;
    for (Call *call = batch->calls; call != NULL; call = call->next) {
      if (call->kind != SEND && call->kind != RECEIVE) continue;
      if (call->done == call->bytes || atomic_load(&call->comm->aborted)) continue;
      if (!waits(batch->calls, call)) move(call);
      left += call->done < call->bytes;
    }
    if (left > 0) rest();
  }
  while (batch->calls != NULL) {
    Call *call = batch->calls;
    batch->calls = call->next;
    if (call->comm != NULL) atomic_fetch_sub(&call->comm->queued, 1);
    free(call);
  }
  free(batch);
}

static void *work(void *argument) {
  Stream *stream = argument;
  pthread_mutex_lock(&stream->lock);
  for (;;) {
    while (stream->first == NULL && !stream->closing) pthread_cond_wait(&stream->changed, &stream->lock);
    if (stream->first == NULL) break;
    Batch *batch = stream->first;
    stream->first = batch->next;
    if (stream->first == NULL) stream->last = NULL;
    stream->busy = 1;
    pthread_mutex_unlock(&stream->lock);
    run(batch);
    pthread_mutex_lock(&stream->lock);
    stream->busy = 0;
    pthread_cond_broadcast(&stream->changed);
  }
  pthread_mutex_unlock(&stream->lock);
  return NULL;
}

static void enqueue(Stream *stream, Call *calls) {
  Batch *batch = calloc(1, sizeof *batch);
  batch->calls = calls;
  pthread_mutex_lock(&stream->lock);
  if (stream->last == NULL) stream->first = batch;
  else stream->last->next = batch;
  stream->last = batch;
  pthread_cond_broadcast(&stream->changed);
  pthread_mutex_unlock(&stream->lock);
}

// ---- libcudart --------------------------------------------------------------------------------------------------

int cudaGetDeviceCount(int *count) { *count = 4; return OK; }
int cudaSetDevice(int device) { record("set device %d", device); return OK; }
const char *cudaGetErrorString(int error) { return error == OK ? "no error" : "an error of the stand-in"; }

int cudaStreamCreateWithFlags(Stream **stream, unsigned flags) {
  (void)flags;
  *stream = calloc(1, sizeof **stream);
  pthread_mutex_init(&(*stream)->lock, NULL);
  pthread_cond_init(&(*stream)->changed, NULL);
  return pthread_create(&(*stream)->thread, NULL, work, *stream) == 0 ? OK : SYSTEM_ERROR;
}

int cudaStreamSynchronize(Stream *stream) {
  pthread_mutex_lock(&stream->lock);
  while (stream->first != NULL || stream->busy) pthread_cond_wait(&stream->changed, &stream->lock);
  pthread_mutex_unlock(&stream->lock);
  return OK;
}

int cudaStreamQuery(Stream *stream) {
  pthread_mutex_lock(&stream->lock);
  int busy = stream->first != NULL || stream->busy;
  pthread_mutex_unlock(&stream->lock);
  return busy ? NOT_READY : OK;
}

int cudaMemsetAsync(void *to, int value, size_t bytes, Stream *stream) {
  if (value != 0) return INVALID_ARGUMENT;
  Call *call = calloc(1, sizeof *call + sizeof stream);
  *call = (Call){CLEAR, NULL, NULL, to, bytes, 0, 0, NULL};
  enqueue(stream, call);
  return OK;
}

int cudaStreamDestroy(Stream *stream) {
  pthread_mutex_lock(&stream->lock);
  stream->closing = 1;
  pthread_cond_broadcast(&stream->changed);
  pthread_mutex_unlock(&stream->lock);
  pthread_join(stream->thread, NULL);
  free(stream);
  return OK;
}

// ---- libnccl ----------------------------------------------------------------------------------------------------

static _Thread_local int depth;
static _Thread_local Call *grouped;
static _Thread_local Stream *groupedOn[MOST_RANKS];

int ncclGetVersion(int *version) { *version = 22707; return OK; }
const char *ncclGetLastError(void *comm) { (void)comm; return "a peer of the stand-in is gone"; }
const char *ncclGetErrorString(int error) {
  return error == REMOTE_ERROR ? "remote process exited or there was a network error" : "stand-in error";
}

int ncclGetUniqueId(Id *id) {
  unsigned char random[16];
  if (getrandom(random, sizeof random, 0) != sizeof random) return SYSTEM_ERROR;
  memset(id, 0, sizeof *id);
  strcpy(id->bytes, "/stand-in-");
  for (size_t i = 0; i < sizeof random; i++) sprintf(id->bytes + 10 + 2 * i, "%02x", random[i]);
  record("unique id");
  return OK;
}

static void *join(void *argument) {
  Comm *comm = argument;
  while (atomic_load(&comm->meeting->joined) < comm->ranks) {
    if (atomic_load(&comm->aborted)) return NULL;
    rest();
  }
  // Everybody is here: the name is not needed any more, and a killed process leaves nothing behind.
  if (comm->rank == 0) shm_unlink(comm->name);
  atomic_store(&comm->status, OK);
  return NULL;
}

int ncclCommInitRankConfig(Comm **out, int ranks, Id id, int rank, void *config) {
  // size_t size; unsigned magic, version; int blocking
  if (config == NULL || ((unsigned *)config)[2] != 0xcafebeef || ((int *)config)[4] != 0) return INVALID_ARGUMENT;
  if (ranks > MOST_RANKS || rank < 0 || rank >= ranks) return INVALID_ARGUMENT;
  int file = shm_open(id.bytes, O_RDWR | O_CREAT, 0600);
  if (file < 0 || ftruncate(file, sizeof(Meeting)) != 0) return SYSTEM_ERROR;
  void *memory = mmap(NULL, sizeof(Meeting), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) return SYSTEM_ERROR;
  Comm *comm = calloc(1, sizeof *comm);
  comm->meeting = memory;
  comm->rank = rank;
  comm->ranks = ranks;
  comm->status = IN_PROGRESS;
  memcpy(comm->name, id.bytes, sizeof comm->name - 1);
  atomic_fetch_add(&comm->meeting->joined, 1);
  if (pthread_create(&comm->opening, NULL, join, comm) != 0) return SYSTEM_ERROR;
  *out = comm;
  record("init rank %d of %d", rank, ranks);
  return IN_PROGRESS;
}

int ncclCommGetAsyncError(Comm *comm, int *error) { *error = atomic_load(&comm->status); return OK; }

int ncclCommAbort(Comm *comm) {
  record("abort rank %d", comm->rank);
  atomic_store(&comm->aborted, 1);
  pthread_join(comm->opening, NULL);
  while (atomic_load(&comm->queued) > 0) rest();
  shm_unlink(comm->name);
  munmap(comm->meeting, sizeof(Meeting));
  free(comm);
  return OK;
}

int ncclGroupStart(void) { depth++; return OK; }

// Calls lie in reverse order; those of one stream become one batch.
int ncclGroupEnd(void) {
  if (--depth > 0) return OK;
  for (int s = 0; s < MOST_RANKS; s++) {
    Stream *stream = groupedOn[s];
    if (stream == NULL) continue;
    Call *batch = NULL, *others = NULL;
    while (grouped != NULL) {
      Call *call = grouped;
      grouped = call->next;
      int isOurs = *(Stream **)(call + 1) == stream;
      call->next = isOurs ? batch : others;
      if (isOurs) batch = call; else others = call;
    }
    // Twice reversed is once in order.
    while (others != NULL) { Call *call = others; others = call->next; call->next = grouped; grouped = call; }
    enqueue(stream, batch);
    groupedOn[s] = NULL;
  }
  return OK;
}

static int add(Call call, Stream *stream) {
  Call *own = calloc(1, sizeof *own + sizeof stream);
  *own = call;
  memcpy(own + 1, &stream, sizeof stream);
  atomic_fetch_add(&call.comm->queued, 1);
  if (depth == 0) { enqueue(stream, own); return OK; }
  own->next = grouped;
  grouped = own;
  for (int s = 0; s < MOST_RANKS; s++) {
    if (groupedOn[s] == stream) return OK;
    if (groupedOn[s] == NULL) { groupedOn[s] = stream; return OK; }
  }
  return INVALID_ARGUMENT;
}

int ncclAllReduce(const void *from, void *to, size_t count, int type, int operation, Comm *comm, Stream *stream) {
  if (type != 7 || operation != 0) return INVALID_ARGUMENT;
  record("all-reduce %zu", count);
  return add((Call){ALL_REDUCE, comm, from, to, count * sizeof(float), 0, 0, NULL}, stream);
}

int ncclSend(const void *from, size_t count, int type, int peer, Comm *comm, Stream *stream) {
  if (type != 7) return INVALID_ARGUMENT;
  record("send %zu to %d", count, peer);
  return add((Call){SEND, comm, from, NULL, count * sizeof(float), 0, peer, NULL}, stream);
}

int ncclRecv(void *to, size_t count, int type, int peer, Comm *comm, Stream *stream) {
  if (type != 7) return INVALID_ARGUMENT;
  record("receive %zu from %d", count, peer);
  return add((Call){RECEIVE, comm, NULL, to, count * sizeof(float), 0, peer, NULL}, stream);
}
