import { type ClusterState, rankOf, WorkerTable } from '@weft/coordination';
import { type Home, writeFileAtomically } from '@weft/files';
import type { Logger } from '@weft/telemetry';

/** Targets with labels, as service discovery of Prometheus wants them over HTTP and in files. */
interface TargetGroup {
  readonly targets: readonly string[];
  readonly labels: { readonly run: string; readonly rank: string; readonly host: string; readonly role: string };
}

type Shown = { readonly runs: Pick<ClusterState['runs'], 'get'> } & Pick<ClusterState, 'workers'>;

/** The metrics page of every connected worker. An idle worker has no run and no rank. */
export function scrapeTargets({ runs, workers }: Shown): TargetGroup[] {
  return workers.values().flatMap(({ workerId, metricsAddress = '', hostName, role, runId = '' }) => {
    if (metricsAddress === '') return [];
    const live = runs.get(runId)?.live;
    const isMember = live?.state === 'training';
    const rank = isMember ? rankOf(role === 'rank' ? live.members : live.experts, workerId) : -1;
    const labels = { run: runId, rank: rank < 0 ? '' : `${rank}`, host: hostName, role };
    return [{ targets: [metricsAddress], labels }];
  });
}

/** Keeps `prometheus-targets.json` of a home in step with the workers, for file discovery. */
export class TargetsFile {
  readonly #home: Home;
  readonly #log: Pick<Logger, 'warn'>;
  #written = '';
  #writing: Promise<void> | undefined;

  constructor(home: Home, log: Pick<Logger, 'warn'>) {
    this.#home = home;
    this.#log = log;
  }

  /** Writes the file when it changes, in the background; while it is written, the next change waits for the next call. */
  update(cluster: Shown): void {
    if (this.#writing !== undefined) return;
    const text = `${JSON.stringify(scrapeTargets(cluster), undefined, 1)}\n`;
    if (text === this.#written) return;
    this.#writing = writeFileAtomically(this.#home.targetsFile, text)
      .then(
        () => {
          this.#written = text;
        },
        (error: unknown) => this.#log.warn({ error }, 'the targets of Prometheus are not written'),
      )
      .finally(() => {
        this.#writing = undefined;
      });
  }

  /** Writes that there are no workers, and waits for it. */
  async close(): Promise<void> {
    await this.#writing;
    this.update({ runs: new Map(), workers: WorkerTable.empty() });
    await this.#writing;
  }
}
