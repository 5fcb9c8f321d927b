export { exchangeShape } from './experts/exchange-shape.js';
export type { ExpertStepResult } from './experts/expert-loop.js';
export { ExpertSession, type ExpertSessionOptions } from './experts/expert-session.js';
export { type RemoteExperts, remoteExpertsOf } from './experts/microbatch-flow.js';
export type { HeldOutLoss } from './held-out-loss.js';
export * from './ports.js';
export { type TrainProgram, trainProgram } from './train-program.js';
export { type StepParts, type StepResult, trainStep } from './train-step.js';
export { type SessionOptions, TrainingSession } from './training-session.js';
