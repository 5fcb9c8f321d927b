export { gpuArguments, namedGpus, visibleGpus } from './assign-gpus.js';
export type { Cluster, ClusterRequest, Launcher } from './launcher.js';
export { LocalLauncher } from './local-launcher.js';
