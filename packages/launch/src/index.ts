export type { Cluster, ClusterRequest, Launcher } from './launcher.js';
export { LocalLauncher } from './local-launcher.js';
