export { type Bf16Support, bf16Backends, bf16Support, computeHost, localPrecision } from './bf16-support.js';
export { exchangeShape } from './moe/exchange-plan.js';
export { type ExpertRoles, expertRoles } from './moe/expert-roles.js';
export type { ExpertStepResult } from './moe/expert-server.js';
export { type ExpertHoldings, ExpertSession, type ExpertSessionOptions } from './moe/expert-session.js';
export { adamwApply, adamwState, clipScale, globalNorm } from './optimizer/adamw.js';
export type {
  CoordinatorPort,
  ExpertCoordinatorPort,
  ExpertDecision,
  GenerationPlan,
  InitialState,
  StepDecision,
  TrainOutcome,
  TrainSignals,
} from './ports.js';
export { replaySteps } from './replay-steps.js';
export { openExecutor } from './run-engine.js';
export { type SequenceLoss, type SessionOptions, TrainingSession } from './session.js';
export type { StateTransfer } from './state-transfer.js';
export { trainProgram } from './train-program.js';
export { type StepResult, trainStep } from './train-step.js';
export { devicePeak, workerMemory } from './worker-memory.js';
