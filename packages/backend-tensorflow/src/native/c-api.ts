import { dirname } from 'node:path';
import { WeftError } from '@weft/common';
import { koffi, type LibraryHandle } from '@weft/native';
import { loadLibraries } from './load-libraries.js';

/** An address that TensorFlow gave us; only `handles.ts` knows what lies behind it. */
export type Pointer = unknown;

/** `TF_Output`: one output of one operation of a graph. */
export interface OutputPointer {
  readonly operation: Pointer;
  readonly index: number;
}

const GRAPH = [
  'void* TF_NewGraph()',
  'void TF_DeleteGraph(void*)',
  'void* TF_NewOperation(void*, const char*, const char*)',
  'void TF_AddInput(void*, TF_Output)',
  'void TF_AddInputList(void*, TF_Output*, int)',
  'void TF_AddControlInput(void*, void*)',
  'void* TF_FinishOperation(void*, void*)',
  'void TF_SetAttrType(void*, const char*, int)',
  'void TF_SetAttrBool(void*, const char*, uchar)',
  'void TF_SetAttrInt(void*, const char*, int64_t)',
  'void TF_SetAttrIntList(void*, const char*, int64_t*, int)',
  'void TF_SetAttrFloat(void*, const char*, float)',
  'void TF_SetAttrString(void*, const char*, const char*, size_t)',
  'void TF_SetAttrStringList(void*, const char*, const char**, size_t*, int)',
  'void TF_SetAttrTypeList(void*, const char*, int*, int)',
  'void TF_SetAttrShape(void*, const char*, int64_t*, int)',
  'void TF_SetAttrTensor(void*, const char*, void*, void*)',
  'int TF_GraphGetTensorNumDims(void*, TF_Output, void*)',
  'void TF_GraphGetTensorShape(void*, TF_Output, _Out_ int64_t*, int, void*)',
  'int TF_OperationOutputType(TF_Output)',
  'void* TF_GraphToFunction(void*, const char*, uchar, int, void*, int, TF_Output*, int, TF_Output*, void*, void*, const char*, void*)',
  'void TF_FunctionSetAttrValueProto(void*, const char*, void*, size_t, void*)',
  'void TF_GraphCopyFunction(void*, void*, void*, void*)',
  'void TF_DeleteFunction(void*)',
] as const;

const RUNTIME = [
  'const char* TF_Version()',
  'void* TF_NewStatus()',
  'void TF_DeleteStatus(void*)',
  'int TF_GetCode(void*)',
  'const char* TF_Message(void*)',
  'void* TF_AllocateTensor(int, int64_t*, int, size_t)',
  'void TF_DeleteTensor(void*)',
  'void* TF_TensorData(void*)',
  'size_t TF_TensorByteSize(void*)',
  'int TF_TensorType(void*)',
  'int TF_NumDims(void*)',
  'int64_t TF_Dim(void*, int)',
  'void* TF_NewSessionOptions()',
  'void TF_DeleteSessionOptions(void*)',
  'void TF_SetConfig(void*, void*, size_t, void*)',
  'void* TF_NewSession(void*, void*, void*)',
  'void TF_CloseSession(void*, void*)',
  'void TF_DeleteSession(void*, void*)',
  'void* TF_SessionListDevices(void*, void*)',
  'void TF_DeleteDeviceList(void*)',
  'int TF_DeviceListCount(void*)',
  'const char* TF_DeviceListName(void*, int, void*)',
  'void* TF_NewBuffer()',
  'void* TF_NewBufferFromString(void*, size_t)',
  'void TF_DeleteBuffer(void*)',
  'void TF_SessionRun(void*, void*, TF_Output*, void**, int, TF_Output*, _Out_ void**, int, void**, int, void*, void*)',
  'void TF_SessionPRunSetup(void*, TF_Output*, int, TF_Output*, int, void**, int, _Out_ void**, void*)',
  'void TF_SessionPRun(void*, void*, TF_Output*, void**, int, TF_Output*, _Out_ void**, int, void**, int, void*)',
  'void TF_DeletePRunHandle(void*)',
] as const;

const EAGER = [
  'void* TFE_NewContextOptions()',
  'void TFE_ContextOptionsSetConfig(void*, void*, size_t, void*)',
  'void TFE_DeleteContextOptions(void*)',
  'void* TFE_NewContext(void*, void*)',
  'void TFE_DeleteContext(void*)',
  'void* TFE_NewTensorHandle(void*, void*)',
  'void TFE_DeleteTensorHandle(void*)',
  'int TFE_TensorHandleDataType(void*)',
  'int TFE_TensorHandleNumDims(void*, void*)',
  'int64_t TFE_TensorHandleDim(void*, int, void*)',
  'void* TFE_TensorHandleResolve(void*, void*)',
  'void* TFE_NewOp(void*, const char*, void*)',
  'void TFE_DeleteOp(void*)',
  'void TFE_OpAddInput(void*, void*, void*)',
  'void TFE_OpAddInputList(void*, void**, int, void*)',
  'void TFE_OpSetAttrType(void*, const char*, int)',
  'void TFE_OpSetAttrBool(void*, const char*, uchar)',
  'void TFE_OpSetAttrInt(void*, const char*, int64_t)',
  'void TFE_OpSetAttrIntList(void*, const char*, int64_t*, int)',
  'void TFE_OpSetAttrFloat(void*, const char*, float)',
  'void TFE_OpSetAttrString(void*, const char*, const char*, size_t)',
  'void TFE_OpSetAttrShape(void*, const char*, int64_t*, int, void*)',
  'void TFE_Execute(void*, _Out_ void**, _Inout_ int*, void*)',
] as const;

type NameOf<S extends string> = S extends `${string} ${infer Rest}`
  ? Rest extends `${infer Name}(${string}`
    ? Name extends `${string} ${string}`
      ? NameOf<Rest>
      : Name
    : never
  : never;

/** TensorFlow's C functions by name. Signatures are the C ones above; `handles.ts` and `eager-binding.ts` give them types. */
export type CApi = Readonly<
  Record<
    NameOf<(typeof GRAPH)[number] | (typeof RUNTIME)[number] | (typeof EAGER)[number]>,
    ReturnType<LibraryHandle['func']>
  >
>;

let loaded: { readonly api: CApi; readonly directory: string } | undefined;

/**
 * Loads TensorFlow's shared libraries once for this process.
 * @throws WeftError `native_library` when they cannot be loaded, or others were loaded before.
 */
export function loadCApi(directory: string): CApi {
  if (loaded !== undefined) {
    if (loaded.directory === directory) return loaded.api;
    throw new WeftError('native_library', `TensorFlow was already loaded from ${loaded.directory}, not ${directory}`);
  }
  try {
    const library = loadLibraries(directory);
    koffi().struct('TF_Output', { operation: 'void*', index: 'int' });
    koffi().struct('TF_Buffer', { data: 'void*', length: 'size_t', deallocator: 'void*' });
    const api = Object.fromEntries(
      [...GRAPH, ...RUNTIME, ...EAGER].map((signature) => [nameOf(signature), library.func(signature)]),
    ) as CApi;
    loaded = { api, directory };
    return api;
  } catch (cause) {
    throw new WeftError('native_library', `TensorFlow's library in ${directory} could not be loaded`, {
      cause,
      hint: `set WEFT_TENSORFLOW_DIR to a folder with libtensorflow_cc.so.2, or remove ${dirname(directory)} and set it up again`,
    });
  }
}

function nameOf(signature: string): string {
  const name = /(TFE?_\w+)\(/.exec(signature)?.[1];
  if (name === undefined) throw new WeftError('internal', `no function name in "${signature}"`);
  return name;
}

/** The bytes of a native buffer, without a copy. The caller keeps the buffer alive. */
export function viewMemory(pointer: Pointer, bytes: number): ArrayBuffer {
  return koffi().view(pointer, bytes);
}

/** A copy of what a `TF_Buffer` holds. */
export function readBuffer(buffer: Pointer): Uint8Array {
  const { data, length }: { readonly data: Pointer; readonly length: number | bigint } = koffi().decode(
    buffer,
    'TF_Buffer',
  );
  return data === null ? new Uint8Array(0) : new Uint8Array(viewMemory(data, Number(length))).slice();
}
