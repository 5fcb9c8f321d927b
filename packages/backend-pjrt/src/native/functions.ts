// PJRT's C interface (pjrt_c_api.h, major version 0) as data: what Weft calls of it. Names are the header's, without the
// prefix PJRT_ of functions and the suffix _Args of their structs.

/**
 * Which version of the interface a plugin must have at least, and how far this table knows it. Since minor version 57
 * functions and fields were only ever appended; versions 81, 106 and 115 were tried.
 */
export const API = { major: 0, oldestMinor: 81, knownMinor: 115 } as const;

/** C types of fields: an address, a `size_t` or `int64_t`, an `int` or enum, a `bool`. */
export type FieldType = 'pointer' | 'int64' | 'int32' | 'bool';
export type Fields = Readonly<Record<string, FieldType>>;

/** Where a function stands in the table of `PJRT_Api`, and its argument struct after `struct_size` and `extension_start`. */
export interface CFunction {
  readonly index: number;
  readonly fields: Fields;
}

/** A text that C describes by its address and length. */
const TEXT = { text: 'pointer', textSize: 'int64' } as const;

export const FUNCTIONS = {
  Error_Destroy: { index: 0, fields: { error: 'pointer' } },
  Error_Message: { index: 1, fields: { error: 'pointer', ...TEXT } },
  Error_GetCode: { index: 2, fields: { error: 'pointer', code: 'int32' } },
  Plugin_Initialize: { index: 3, fields: {} },
  Plugin_Attributes: { index: 4, fields: { attributes: 'pointer', attributeCount: 'int64' } },
  Event_Destroy: { index: 5, fields: { event: 'pointer' } },
  Event_IsReady: { index: 6, fields: { event: 'pointer', isReady: 'bool' } },
  Event_Await: { index: 8, fields: { event: 'pointer' } },
  Client_Create: {
    index: 10,
    fields: {
      options: 'pointer',
      optionCount: 'int64',
      kvGet: 'pointer',
      kvGetArgument: 'pointer',
      kvPut: 'pointer',
      kvPutArgument: 'pointer',
      client: 'pointer',
      kvTryGet: 'pointer',
      kvTryGetArgument: 'pointer',
    },
  },
  Client_Destroy: { index: 11, fields: { client: 'pointer' } },
  Client_PlatformName: { index: 12, fields: { client: 'pointer', ...TEXT } },
  Client_PlatformVersion: { index: 14, fields: { client: 'pointer', ...TEXT } },
  Client_AddressableDevices: {
    index: 16,
    fields: { client: 'pointer', devices: 'pointer', deviceCount: 'int64' },
  },
  Client_Compile: {
    index: 20,
    fields: {
      client: 'pointer',
      program: 'pointer',
      options: 'pointer',
      optionsSize: 'int64',
      executable: 'pointer',
    },
  },
  Client_BufferFromHostBuffer: {
    index: 22,
    fields: {
      client: 'pointer',
      data: 'pointer',
      elementType: 'int32',
      dimensions: 'pointer',
      rank: 'int64',
      byteStrides: 'pointer',
      byteStrideCount: 'int64',
      semantics: 'int32',
      device: 'pointer',
      memory: 'pointer',
      layout: 'pointer',
      doneWithHostBuffer: 'pointer',
      buffer: 'pointer',
    },
  },
  DeviceDescription_Id: { index: 23, fields: { description: 'pointer', id: 'int32' } },
  DeviceDescription_Kind: { index: 26, fields: { description: 'pointer', ...TEXT } },
  Device_GetDescription: { index: 29, fields: { device: 'pointer', description: 'pointer' } },
  Device_MemoryStats: {
    index: 34,
    fields: {
      device: 'pointer',
      bytesInUse: 'int64',
      peakBytesInUse: 'int64',
      hasPeakBytesInUse: 'bool',
      allocations: 'int64',
      hasAllocations: 'bool',
      largestAllocation: 'int64',
      hasLargestAllocation: 'bool',
      bytesLimit: 'int64',
      hasBytesLimit: 'bool',
      bytesReserved: 'int64',
      hasBytesReserved: 'bool',
      peakBytesReserved: 'int64',
      hasPeakBytesReserved: 'bool',
      bytesReservable: 'int64',
      hasBytesReservable: 'bool',
      largestFreeBlock: 'int64',
      hasLargestFreeBlock: 'bool',
      poolBytes: 'int64',
      hasPoolBytes: 'bool',
      peakPoolBytes: 'int64',
      hasPeakPoolBytes: 'bool',
    },
  },
  Executable_Destroy: { index: 40, fields: { executable: 'pointer' } },
  Executable_NumOutputs: { index: 44, fields: { executable: 'pointer', outputCount: 'int64' } },
  Executable_GetCostAnalysis: {
    index: 46,
    fields: { executable: 'pointer', propertyCount: 'int64', properties: 'pointer' },
  },
  Executable_OptimizedProgram: { index: 48, fields: { executable: 'pointer', program: 'pointer' } },
  Executable_Serialize: {
    index: 49,
    fields: {
      executable: 'pointer',
      bytes: 'pointer',
      byteCount: 'int64',
      serialized: 'pointer',
      deleter: 'pointer',
    },
  },
  LoadedExecutable_Destroy: { index: 50, fields: { executable: 'pointer' } },
  LoadedExecutable_GetExecutable: { index: 51, fields: { loaded: 'pointer', executable: 'pointer' } },
  LoadedExecutable_Execute: {
    index: 55,
    fields: {
      executable: 'pointer',
      options: 'pointer',
      argumentLists: 'pointer',
      deviceCount: 'int64',
      argumentCount: 'int64',
      outputLists: 'pointer',
      doneEvents: 'pointer',
      device: 'pointer',
    },
  },
  Executable_DeserializeAndLoad: {
    index: 56,
    fields: {
      client: 'pointer',
      bytes: 'pointer',
      byteCount: 'int64',
      executable: 'pointer',
      options: 'pointer',
      optionsSize: 'int64',
    },
  },
  Buffer_Destroy: { index: 58, fields: { buffer: 'pointer' } },
  Buffer_ElementType: { index: 59, fields: { buffer: 'pointer', elementType: 'int32' } },
  Buffer_Dimensions: { index: 60, fields: { buffer: 'pointer', dimensions: 'pointer', rank: 'int64' } },
  Buffer_OnDeviceSizeInBytes: { index: 64, fields: { buffer: 'pointer', byteCount: 'int64' } },
  Buffer_IsDeleted: { index: 68, fields: { buffer: 'pointer', isDeleted: 'bool' } },
  Buffer_ToHostBuffer: {
    index: 70,
    fields: { buffer: 'pointer', layout: 'pointer', target: 'pointer', targetSize: 'int64', done: 'pointer' },
  },
  Buffer_ReadyEvent: { index: 72, fields: { buffer: 'pointer', ready: 'pointer' } },
  Buffer_IncreaseExternalReferenceCount: { index: 74, fields: { buffer: 'pointer' } },
  Buffer_DecreaseExternalReferenceCount: { index: 75, fields: { buffer: 'pointer' } },
  Buffer_OpaqueDeviceMemoryDataPointer: { index: 76, fields: { buffer: 'pointer', memory: 'pointer' } },
  TopologyDescription_Create: {
    index: 82,
    fields: { name: 'pointer', nameSize: 'int64', options: 'pointer', optionCount: 'int64', topology: 'pointer' },
  },
  TopologyDescription_Destroy: { index: 83, fields: { topology: 'pointer' } },
  TopologyDescription_GetDeviceDescriptions: {
    index: 86,
    fields: { topology: 'pointer', descriptions: 'pointer', descriptionCount: 'int64' },
  },
  Compile: {
    index: 89,
    fields: {
      topology: 'pointer',
      program: 'pointer',
      options: 'pointer',
      optionsSize: 'int64',
      client: 'pointer',
      executable: 'pointer',
    },
  },
  Executable_GetCompiledMemoryStats: {
    index: 96,
    fields: {
      executable: 'pointer',
      code: 'int64',
      arguments: 'int64',
      outputs: 'int64',
      aliases: 'int64',
      temporaries: 'int64',
      hostCode: 'int64',
      hostArguments: 'int64',
      hostOutputs: 'int64',
      hostAliases: 'int64',
      hostTemporaries: 'int64',
      peak: 'int64',
    },
  },
  Client_CreateUninitializedBuffer: {
    index: 112,
    fields: {
      client: 'pointer',
      dimensions: 'pointer',
      rank: 'int64',
      elementType: 'int32',
      layout: 'pointer',
      device: 'pointer',
      memory: 'pointer',
      buffer: 'pointer',
    },
  },
} as const satisfies Record<string, CFunction>;

export type FunctionName = keyof typeof FUNCTIONS;

/**
 * Structs that are no argument structs; they begin with `struct_size` and `extension_start` too. `NamedValue.value` is a
 * union: an address for texts and lists, else the value itself.
 */
export const STRUCTS = {
  NamedValue: { name: 'pointer', nameSize: 'int64', type: 'int32', value: 'pointer', valueSize: 'int64' },
  Program: { code: 'pointer', codeSize: 'int64', format: 'pointer', formatSize: 'int64' },
  ExecuteOptions: {
    sendCallbacks: 'pointer',
    receiveCallbacks: 'pointer',
    sendCount: 'int64',
    receiveCount: 'int64',
    launchId: 'int32',
    notDonated: 'pointer',
    notDonatedCount: 'int64',
    context: 'pointer',
    callLocation: 'pointer',
    taskCount: 'int64',
    taskIds: 'pointer',
    incarnationIds: 'pointer',
  },
} as const satisfies Record<string, Fields>;

/** `PJRT_Error_Code` that Weft tells apart. */
export const ERROR_CODE = { invalidArgument: 3, notFound: 5, resourceExhausted: 8, failedPrecondition: 9 } as const;

/** `PJRT_NamedValue_Type`. */
export const VALUE_TYPE = { text: 0, int64: 1, int64List: 2, float: 3, bool: 4 } as const;

/** `PJRT_HostBufferSemantics`: the array may change again once the transfer is done, and not before. */
export const UNCHANGED_UNTIL_TRANSFERRED = 1;

/** `PJRT_Buffer_Type` by element type. */
export const ELEMENT_TYPE = { bool: 1, int32: 4, int64: 5, uint8: 6, float32: 11, bfloat16: 13 } as const;
export type ElementType = keyof typeof ELEMENT_TYPE;
