export { heldOutLoss, heldOutMicrobatchCount, type LossSum } from './held-out-loss.js';
