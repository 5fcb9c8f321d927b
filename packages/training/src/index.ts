export { exchangeShape } from './moe/exchange-plan.js';
export type { ExpertStepResult } from './moe/expert-server.js';
export { ExpertSession, type ExpertSessionOptions } from './moe/expert-session.js';
export { adamwApply, adamwState, clipScale, globalNorm } from './optimizer/adamw.js';
export type {
  CoordinatorPort,
  ExpertCoordinatorPort,
  ExpertDecision,
  GenerationPlan,
  InitialState,
  TrainOutcome,
  TrainSignals,
} from './ports.js';
export { type SessionOptions, TrainingSession } from './session.js';
export { trainProgram } from './train-program.js';
export { type StepResult, trainStep } from './train-step.js';
