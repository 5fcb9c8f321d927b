export { hostAndPort, mustBe, oneOf, port, text, toArguments, wholeNumber } from './arguments.js';
export { createProgram, type HelpOutput, readOptions } from './program.js';
export { UsageError } from './usage-error.js';
