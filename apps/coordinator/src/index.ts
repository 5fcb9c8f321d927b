export { Coordinator, type CoordinatorOptions } from './coordinator.js';
export { main } from './main.js';
export { coordinatorServices } from './services.js';
export { type RunningCoordinator, startCoordinator } from './start.js';
