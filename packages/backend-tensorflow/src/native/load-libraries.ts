import { join } from 'node:path';
import { koffi, type LibraryHandle } from '@weft/native';

/** The libraries in the order they need each other. */
const LIBRARIES = ['libtensorflow_framework.so.2', 'libtensorflow_cc.so.2'] as const;

const ERRORS_ONLY = '2';

// <dlfcn.h> and <fcntl.h> of Linux.
const [RTLD_NOW, RTLD_GLOBAL, RTLD_NODELETE, O_WRONLY, STDERR] = [0x2, 0x100, 0x1000, 1, 2];

/**
 * Loads TensorFlow for the rest of the process's life and returns the library of its C API.
 * It is pinned in memory: TensorFlow's threads outlive `main`, and unmapping their code at exit is a crash.
 * @throws what the dynamic linker says
 */
export function loadLibraries(directory: string): LibraryHandle {
  process.env.TF_CPP_MIN_LOG_LEVEL ??= ERRORS_ONLY;
  const program = koffi().load(null);
  const dlopen = program.func('void* dlopen(const char*, int)');
  const dlerror = program.func('const char* dlerror()');
  withoutGreeting(program, () => {
    for (const library of LIBRARIES) {
      const pinned: unknown = dlopen(join(directory, library), RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
      if (pinned === null) throw new Error(String(dlerror()));
    }
  });
  return koffi().load(join(directory, LIBRARIES[1]));
}

/** TensorFlow greets on stderr while it is loaded, and no setting stops it: stderr looks away for that moment. */
function withoutGreeting(program: LibraryHandle, load: () => void): void {
  const [dup, dup2, close] = ['int dup(int)', 'int dup2(int, int)', 'int close(int)'].map((f) => program.func(f));
  const nowhere: number = program.func('int open(const char*, int)')('/dev/null', O_WRONLY);
  const stderr: number = dup?.(STDERR);
  dup2?.(nowhere, STDERR);
  try {
    load();
  } finally {
    dup2?.(stderr, STDERR);
    close?.(stderr);
    close?.(nowhere);
  }
}
