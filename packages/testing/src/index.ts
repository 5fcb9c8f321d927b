export { type CuttingProxy, cuttingProxy } from './cutting-proxy.js';
export { classifier, executorConformance } from './executor-conformance.js';
export { FakeClock } from './fake-clock.js';
export { faultyPlugin, type PluginFault } from './faulty-plugin.js';
export { type FileServer, fileServer, someBytes } from './file-server.js';
export { freePort } from './free-port.js';
export { isServing } from './is-serving.js';
export { hasMoto, type MotoServer, motoServer } from './moto-server.js';
export { ncclStandIn, standInEnvironment } from './nccl-stand-in.js';
export { type ImageArrays, packImages } from './pack-images.js';
export { pngPicture } from './png-picture.js';
export { type RedisServer, type RedisServerOptions, redisServer } from './redis-server.js';
export { exampleMoeLayer, exampleRun, exampleStep, timeMsOfStep } from './run-fixtures.js';
export { RunLog, timeAt } from './run-log.js';
export {
  metricsUpdate,
  type Script,
  scriptedCoordinator,
  summaryAt,
  summaryUpdate,
} from './scripted-coordinator.js';
export { endedSweepRun, exampleSweep, exampleSweepLoss, exampleSweepScale } from './sweep-fixtures.js';
export { type TemporaryDirectory, temporaryDirectory } from './temporary-directory.js';
export { tinyRun } from './tiny-run.js';
export { type Trouble, troubledProxy } from './troubled-proxy.js';
export { waitFor } from './wait-for.js';
