export { type HeldOutOptions, heldOutLoss, heldOutMicrobatchCount, type LossSum } from './held-out-loss.js';
