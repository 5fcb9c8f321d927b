export { type AdamwConfig, type AdamwStep, adamwApply, adamwState, type OptimizedParameter } from './adamw.js';
export { clipScale, globalNorm } from './clip.js';
export { type ScheduleConfig, scheduleFactor, scheduleFactorAt } from './schedule.js';
