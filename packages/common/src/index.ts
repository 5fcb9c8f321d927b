export { type Address, formatAddress, listenError, listening, parseAddress } from './address.js';
export {
  type Deferred,
  deferred,
  retry,
  SerialQueue,
  settlesWithin,
  sleep,
  withTimeout,
} from './async.js';
export { type Clock, HEARTBEAT_TIMEOUT_MS, systemClock } from './clock.js';
export { didYouMean } from './did-you-mean.js';
export { type Difference, differences, flattened } from './differences.js';
export {
  assertNever,
  ERROR_CODES,
  type ErrorCode,
  errorCode,
  refuse,
  systemErrorCode,
  WeftError,
} from './error.js';
export { age, bytes, count, decimal, duration, large, percent, plural, sourceCounts } from './format.js';
export { isJsonObject, type JsonObject } from './json-object.js';
export { bf16Instructions, type VectorInstructions, vectorInstructions } from './processor.js';
export { hash32, mix32, Random } from './random.js';
export { isRunId, newRunId } from './run-id.js';
export { DEFAULT_SOURCES, mapSources, ofSource, type PerSource, perSource, type SourceId } from './source.js';
export { median } from './statistics.js';
export { WEFT_VERSION } from './version.js';
