export { checkpointParameters, type ParameterValues } from './checkpoint-parameters.js';
export type { FinishReason, GenerateOptions, PromptSource } from './continuations.js';
export { type Generator, type GeneratorOptions, openGenerator } from './generator.js';
export { asMessage, type ImageSegment, type Prompt, promptOf } from './prompt.js';
