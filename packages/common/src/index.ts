export { type Address, formatAddress, listenError, parseAddress } from './address.js';
export {
  type Deferred,
  deferred,
  type RetryOptions,
  retry,
  SerialQueue,
  settlesWithin,
  sleep,
  type TimeoutOptions,
  withTimeout,
} from './async.js';
export { type Clock, systemClock } from './clock.js';
export { didYouMean, editDistance } from './did-you-mean.js';
export {
  assertNever,
  ERROR_CODES,
  type ErrorCode,
  errorCode,
  refuse,
  systemErrorCode,
  WeftError,
  type WeftErrorOptions,
} from './error.js';
export { type Flags, parseFlags, portFlag, wholeNumberFlag } from './flags.js';
export { age, bytes, count, decimal, duration, large, percent, plural, sourceCounts } from './format.js';
export { hash32, mix32, Random } from './random.js';
export { isRunId, newRunId } from './run-id.js';
export { DEFAULT_SOURCES, mapSources, ofSource, type PerSource, perSource, type SourceId } from './source.js';
export { UsageError } from './usage-error.js';
export { WEFT_VERSION } from './version.js';
