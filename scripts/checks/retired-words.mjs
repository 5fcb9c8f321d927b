/** @import { SourceFile } from './files.mjs' */

/**
 * Words that were given up, for each the word that means it now. They are searched as whole words, in code, comments,
 * documents, protos and tests alike.
 *
 * @type {Readonly<Record<string, string>>}
 */
const RETIRED_WORDS = {
  CoordinatorLink: 'CoordinatorPort',
  DraftQueue: 'QueueBuilder',
  DraftRun: 'Run',
  ExpertDuty: 'ExpertRun',
  ExpertLink: 'ExpertCoordinatorPort',
  HeldStore: 'LeasedStore',
  ModelQueue: 'InMemoryQueue',
  PartLink: 'CheckpointPort',
  RequestDesk: 'ExpertRequestQueue',
  ResidentState: 'TrainState',
  ResidentStateOptions: 'TrainStateOptions',
  RunInTurn: 'LockedPhaseRun',
  RunOnWorker: 'WorkerRun',
  StagedSession: 'FakeSession',
  StorePlace: 'StoreFixture',
  adamLoops: 'fuseAdam',
  addSwappedHalves: 'addHalfRoll',
  asNative: 'toNativeTensor',
  asRunRecord: 'parseRunRecord',
  carryOutInQueue: 'executeInQueue',
  claimsUntilMs: 'reservedUntilMs',
  columnSums: 'sumToMatmul',
  compareRanks: 'compareOrderKeys',
  crewAttending: 'connectedWorkers',
  crewOf: 'requestedWorkers',
  dataParallelDecoderProgram: 'decoderTask',
  expertLoop: 'serveExperts',
  foundQueue: 'recoveredQueue',
  holdStore: 'acquireStore',
  holdsBack: 'blocksQueue',
  hostTowards: 'outboundAddress',
  intoBuckets: 'packBuckets',
  isElsewhere: 'isRemote',
  isPassing: 'isTransient',
  isRingTrouble: 'isPeerFailure',
  jobIdOf: 'runJobId',
  judgeServer: 'checkServerInfo',
  learnPace: 'learnStepTime',
  leaveWithGrace: 'shutdownGracefully',
  letGo: 'detachWorkers',
  listedEvent: 'queueListing',
  mayPass: 'isRetryable',
  mendMetrics: 'repairMetrics',
  microbatchesOf: 'accumulationOrder',
  movesInBf16: 'sinkCasts',
  newJobOf: 'createRunJob',
  onTrying: 'onConnectRetry',
  openOther: 'openBlocking',
  outlookOf: 'forecastQueue',
  ownerOf: 'jobOwner',
  paceAfter: 'extendTiming',
  pageOf: 'paginate',
  patientLink: 'logSlowDecisions',
  rankBetween: 'orderKeyBetween',
  reclaimMs: 'reservationMs',
  remoteExpertsOf: 'openRemoteExperts',
  resultsFirst: 'scheduleOutputsEarly',
  setAway: 'markDown',
  setPresent: 'markUp',
  settleMs: 'lossGraceMs',
  settlesFor: 'minimumWorkers',
  sigmoidGates: 'fuseSigmoidMul',
  stepProgram: 'trainProgram',
  storeNotice: 'describeStoreHealth',
  storeTrouble: 'describeStoreError',
  swappedHalves: 'concatToRoll',
  takeMade: 'submitWith',
  threadHeart: 'heartbeatThread',
  timerHeart: 'timerHeartbeat',
  toItsEnd: 'finish',
  untilDecided: 'serveUntilDecided',
  wholeMicrobatches: 'completedMicrobatches',
  yieldingRuns: 'findPreemptions',
  yieldsTo: 'preemptedBy',
};

/**
 * @param {readonly SourceFile[]} files
 * @param {Readonly<Record<string, string>>} [retired]
 * @returns {string[]} one sentence a finding
 */
export function findRetiredWords(files, retired = RETIRED_WORDS) {
  const pattern = new RegExp(`(?<![\\w$])(?:${Object.keys(retired).map(quoted).join('|')})(?![\\w$])`, 'g');
  return files.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, index) => {
      const words = new Set([...line.matchAll(pattern)].map(([word]) => word));
      return [...words].map((word) => `${path}:${index + 1} says ${word}; the word is ${retired[word]}`);
    }),
  );
}

/** @param {string} text */
const quoted = (text) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
