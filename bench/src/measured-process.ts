// A measured process of ours: opens its candidate and runs rounds of steps as the bench asks for them on stdin.
import { readFileSync } from 'node:fs';
import type { Candidate, CandidateParts } from './candidate.js';
import { receive, runRounds, send } from './candidate-loop.js';
import type { Addresses, CandidateSpec, FinalReport, Hello, Ready } from './candidate-spec.js';
import { openGemm } from './gemm-candidate.js';
import { openOnePhase } from './one-phase-candidate.js';
import { Profile } from './profile.js';
import { benchTask, openTraining } from './training-candidate.js';

const spec: CandidateSpec = JSON.parse(process.argv[2] ?? '{}');
const profile = spec.trace ? new Profile() : undefined;

const candidate = await open({
  spec,
  profile,
  exchangeAddresses: async (address) => {
    send<Hello>(address === undefined ? {} : { address });
    return (await receive<Addresses>())?.addresses ?? [];
  },
});
const firstLoss = await candidate.step();
const secondsToFirstStep = (Date.now() - spec.startedAtMs) / 1000;
send<Ready>({ ...candidate.engine.ready(), firstLoss, secondsToFirstStep });

await runRounds(() => candidate.step(), { onRound: () => profile?.reset(), onStep: () => profile?.endStep() });
send<FinalReport>({
  peakBytes: peakBytes(),
  ...(await candidate.engine.memory()),
  ...(profile === undefined ? {} : { profile: profile.perStep() }),
});
await candidate.close();
process.stdin.destroy();

function open(parts: CandidateParts): Promise<Candidate> {
  if (parts.spec.work === 'gemm') return openGemm(parts);
  const { model, isDataParallel, pjrt } = parts.spec;
  if (isDataParallel) return openTraining(parts);
  // On processors the trainer's own step costs next to nothing more than one phase.
  return model.images === null || pjrt !== undefined ? openOnePhase(parts, benchTask(parts.spec)) : openTraining(parts);
}

/** The most memory this process ever had, itself only: Linux's maxRSS would include the parent it was forked from. */
function peakBytes(): number {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS * 1024;
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024;
}
