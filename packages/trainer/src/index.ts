export * from './ports.js';
export type { StepResult } from './train-step.js';
export { type SessionOptions, TrainingSession } from './training-session.js';
