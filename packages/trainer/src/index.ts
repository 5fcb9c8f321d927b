export * from './ports.js';
export { type TrainProgram, trainProgram } from './train-program.js';
export { type StepParts, type StepResult, trainStep } from './train-step.js';
export { type SessionOptions, TrainingSession } from './training-session.js';
